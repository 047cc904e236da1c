//! The native decoder's graph: a node for the embedding, one for each layer, and one for the head, in operators that the
//! engine brings itself (domain [`NATIVE_DOMAIN`]). Norms, SwiGLU, residuals and adapters are computed inside them.

use crate::{
    ModelConfig,
    graph::{
        DecoderLayout, LayerLayout, Linear, NATIVE_WEIGHTS_FILE, PlacedMatrix,
        builder::{Builder, Dim, NATIVE_DOMAIN, Value},
    },
    packed::{Bits, PANEL},
    proto::{self, DataType},
};

/// Builds the graph. `None`: the layout has no packed weights.
///
/// | name | type | shape | what |
/// |---|---|---|---|
/// | `input_ids` | int64 | `[tokens]` | the step's tokens, of all sequences |
/// | `logits` | float | `[logits, vocab_size]` | of the tokens that want some |
///
/// Positions, sequences, pages, adapters, and which tokens want logits are not inputs: the operators share them with the
/// engine.
pub fn native(config: &ModelConfig, layout: &DecoderLayout) -> Option<proto::Model> {
    let tables = layout.native?;
    let mut graph = Native { g: Builder::new(NATIVE_WEIGHTS_FILE), config };
    graph.g.input("input_ids", DataType::Int64, &["tokens".into()]);
    let logits: [Dim; 2] = ["logits".into(), config.vocab_size.into()];
    graph.g.output("logits", DataType::Float, &logits);
    let dims = [config.max_position, config.head_dim / 2];
    graph.g.placed("rope.cos", DataType::Float, &dims, tables.cos);
    graph.g.placed("rope.sin", DataType::Float, &dims, tables.sin);

    let embedding = layout.embedding.packed?;
    graph.matrix("embed.weight", embedding, config.hidden_size);
    let sizes = [("outputs", config.vocab_size.into()), ("inputs", config.hidden_size.into())];
    let mut x = graph.operator("Embedding", &["input_ids", "embed.weight"], "embed.out", embedding, &sizes);
    let last = layout.layers.len().checked_sub(1)?;
    for (i, layer) in layout.layers.iter().enumerate() {
        x = graph.layer(i, layer, &x, i == last)?;
    }
    let norm = graph.floats("final_norm", &layout.final_norm);
    let head = layout.head.packed?;
    // Tied to the embedding, it is the same matrix at the same place.
    let weight = if head == embedding { "embed.weight" } else { "head.weight" };
    if head != embedding {
        graph.matrix(weight, head, config.hidden_size);
    }
    let attributes = [
        ("outputs", config.vocab_size.into()),
        ("inputs", config.hidden_size.into()),
        ("epsilon", config.rms_norm_eps.into()),
    ];
    graph.operator("Head", &[&x, &norm, weight], "logits", head, &attributes);
    Some(graph.g.finish("native"))
}

struct Native<'a> {
    g: Builder,
    config: &'a ModelConfig,
}

impl Native<'_> {
    /// Inputs: x, the norms before attention and MLP, the four linear layers' weights, the rotary tables; then what not
    /// every model has: the norms of queries and keys, and the four biases.
    ///
    /// `last`: of the last layer nothing is wanted but logits, so that what comes behind the keys and values is computed for
    /// the tokens alone that want some.
    fn layer(&mut self, i: usize, layer: &LayerLayout, x: &str, last: bool) -> Option<String> {
        let config = self.config;
        let input_norm = self.floats(&format!("{i}.input_norm"), &layer.input_norm);
        let post_norm = self.floats(&format!("{i}.post_norm"), &layer.post_attention_norm);
        let (qkv, qkv_bits, qkv_bias) = self.weights(i, "qkv", &layer.qkv)?;
        let (o, o_bits, o_bias) = self.weights(i, "o", &layer.o)?;
        let (gate_up, gate_up_bits, gate_up_bias) = self.weights(i, "gate_up", &layer.gate_up)?;
        let (down, down_bits, down_bias) = self.weights(i, "down", &layer.down)?;
        let norms = layer.qk_norms.as_ref();
        let norms = norms
            .map(|(q, k)| (self.floats(&format!("{i}.q_norm"), q), self.floats(&format!("{i}.k_norm"), k)));
        let (q_norm, k_norm) = norms.unwrap_or_default();
        let inputs = [
            x,
            &input_norm,
            &post_norm,
            &qkv,
            &o,
            &gate_up,
            &down,
            "rope.cos",
            "rope.sin",
            &q_norm,
            &k_norm,
            &qkv_bias,
            &o_bias,
            &gate_up_bias,
            &down_bias,
        ];
        // 0: no window. One as long as the longest context hides nothing.
        let window = config.sliding_window.filter(|window| *window < config.max_position).unwrap_or(0);
        let attributes = [
            ("layer", i.into()),
            ("qkv_bits", qkv_bits.count().into()),
            ("o_bits", o_bits.count().into()),
            ("gate_up_bits", gate_up_bits.count().into()),
            ("down_bits", down_bits.count().into()),
            ("hidden", config.hidden_size.into()),
            ("intermediate", layer.down.inputs.into()),
            ("heads", config.heads.into()),
            ("kv_heads", config.kv_heads.into()),
            ("head_dim", config.head_dim.into()),
            ("window", window.into()),
            ("epsilon", config.rms_norm_eps.into()),
            ("picked", Value::Int(i64::from(last))),
        ];
        let out = format!("{i}.out");
        self.g.push(NATIVE_DOMAIN, "Layer", &inputs, &[&out], &attributes);
        Some(out)
    }

    /// A linear layer's weight and bias in the graph: the first one's name and bits, and the second one's name, "" for none.
    fn weights(&mut self, layer: usize, name: &str, linear: &Linear) -> Option<(String, Bits, String)> {
        let (matrix, weight) = (linear.packed?, format!("{layer}.{name}.weight"));
        self.matrix(&weight, matrix, linear.inputs);
        let bias = linear.bias.as_ref().map(|values| self.floats(&format!("{layer}.{name}.bias"), values));
        Some((weight, matrix.bits, bias.unwrap_or_default()))
    }

    fn operator(
        &mut self,
        op: &str,
        inputs: &[&str],
        out: &str,
        matrix: PlacedMatrix,
        more: &[(&str, Value)],
    ) -> String {
        let mut attributes = vec![("bits", Value::from(matrix.bits.count()))];
        attributes.extend(more);
        self.g.push(NATIVE_DOMAIN, op, inputs, &[out], &attributes);
        out.to_owned()
    }

    fn matrix(&mut self, name: &str, matrix: PlacedMatrix, inputs: usize) {
        // By panels, so that no dimension outgrows what ONNX counts in.
        let panel = matrix.bits.panel(inputs) as u64;
        let panels = matrix.at.length / panel;
        debug_assert_eq!(panels * panel, matrix.at.length, "whole panels of {PANEL} outputs");
        self.g.placed(name, DataType::Uint8, &[panels as usize, panel as usize], matrix.at);
    }

    fn floats(&mut self, name: &str, values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.g.constant(name, DataType::Float, &[values.len()], bytes);
        name.to_owned()
    }
}
