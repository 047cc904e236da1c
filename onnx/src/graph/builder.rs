use crate::{
    graph::Placed,
    proto::{
        self, Attribute, AttributeType, DataLocation, DataType, Dimension, DimensionValue, Entry, Node,
        OperatorSet, Shape, TensorType, Type, ValueInfo,
    },
};

/// ONNX's own operators. 21 is the newest that ONNX Runtime's fusions know and that brings nothing we miss.
const ONNX_OPSET: i64 = 21;

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// The domain of the native decoder's operators.
pub const NATIVE_DOMAIN: &str = "npc.gateway";

/// A dimension of an input or output.
#[derive(Debug, Clone)]
pub enum Dim {
    Size(usize),
    /// Any size, the same wherever the name is.
    Symbol(String),
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Self::Size(size)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Self::Symbol(name.to_owned())
    }
}

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Int(i64),
    Float(f32),
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(value as i64)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

/// Collects a graph. Nodes must be added in an order in which each finds its inputs.
#[derive(Debug)]
pub struct Builder {
    graph: proto::Graph,
    /// The file that [`Builder::placed`] points into.
    weights_file: &'static str,
}

impl Builder {
    pub fn new(weights_file: &'static str) -> Self {
        Self { graph: proto::Graph::default(), weights_file }
    }

    pub fn input(&mut self, name: &str, data_type: DataType, dims: &[Dim]) {
        self.graph.input.push(value_info(name, data_type, dims));
    }

    pub fn output(&mut self, name: &str, data_type: DataType, dims: &[Dim]) {
        self.graph.output.push(value_info(name, data_type, dims));
    }

    /// Adds a standard operator with one output, which gives the node its name; returns that name.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Value)]) -> String {
        self.push("", op, inputs, &[output], attributes);
        output.to_owned()
    }

    /// Adds an operator of the domain `com.microsoft` with one output; returns the output's name.
    pub fn microsoft(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Value)],
    ) -> String {
        self.push(MICROSOFT, op, inputs, &[output], attributes);
        output.to_owned()
    }

    /// Adds an operator with several outputs; an empty name leaves one out.
    pub fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Value)],
    ) {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: outputs.iter().map(|&name| name.to_owned()).collect(),
            name: outputs.first().map(|&name| name.to_owned()),
            op_type: Some(op.to_owned()),
            attribute: attributes.iter().map(|&(name, value)| attribute(name, value)).collect(),
            domain: Some(domain.to_owned()),
        });
    }

    /// Adds a small tensor to the graph file itself. `bytes` are its values, little-endian.
    pub fn constant(&mut self, name: &str, data_type: DataType, dims: &[usize], bytes: Vec<u8>) {
        self.graph.initializer.push(proto::Tensor {
            dims: signed(dims),
            data_type: Some(data_type as i32),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
            ..proto::Tensor::default()
        });
    }

    /// Adds a list of 64-bit integers, such as the new shape of a `Reshape`.
    pub fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], bytes);
    }

    /// Adds a tensor that lies in the weights file. Several may share the same bytes.
    pub fn placed(&mut self, name: &str, data_type: DataType, dims: &[usize], at: Placed) {
        let entry = |key: &str, value: String| Entry { key: Some(key.to_owned()), value: Some(value) };
        self.graph.initializer.push(proto::Tensor {
            dims: signed(dims),
            data_type: Some(data_type as i32),
            name: Some(name.to_owned()),
            external_data: vec![
                entry("location", self.weights_file.to_owned()),
                entry("offset", at.offset.to_string()),
                entry("length", at.length.to_string()),
            ],
            data_location: Some(DataLocation::External as i32),
            ..proto::Tensor::default()
        });
    }

    /// The finished model.
    pub fn finish(mut self, name: &str) -> proto::Model {
        self.graph.name = Some(name.to_owned());
        let opset =
            |domain: &str, version| OperatorSet { domain: Some(domain.to_owned()), version: Some(version) };
        proto::Model {
            ir_version: Some(proto::IR_VERSION),
            producer_name: Some("npc-gateway".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(self.graph),
            opset_import: vec![opset("", ONNX_OPSET), opset(MICROSOFT, 1), opset(NATIVE_DOMAIN, 1)],
        }
    }
}

fn signed(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&dim| dim as i64).collect()
}

fn attribute(name: &str, value: Value) -> Attribute {
    let (f, i, kind) = match value {
        Value::Float(f) => (Some(f), None, AttributeType::Float),
        Value::Int(i) => (None, Some(i), AttributeType::Int),
    };
    Attribute { name: Some(name.to_owned()), f, i, r#type: Some(kind as i32) }
}

fn value_info(name: &str, data_type: DataType, dims: &[Dim]) -> ValueInfo {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Size(size) => DimensionValue::Size(*size as i64),
            Dim::Symbol(name) => DimensionValue::Symbol(name.clone()),
        })
        .map(|value| Dimension { value: Some(value) })
        .collect();
    let tensor = TensorType { elem_type: Some(data_type as i32), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.to_owned()), r#type: Some(Type { tensor_type: Some(tensor) }) }
}
