//! The native decoder's graph: of each layer one node for its queries, keys and values, one for the attention, one for what
//! comes out of it, and one for the MLP, in operators that the engine brings itself (domain [`NATIVE_DOMAIN`]). Norms,
//! SwiGLU, residuals and adapters are computed inside them.

use crate::{
    ModelConfig,
    graph::{
        DecoderLayout, LayerLayout, NATIVE_WEIGHTS_FILE, PlacedMatrix,
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
/// | `logit_positions` | int64 | `[logits]` | which of them want logits |
/// | `logits` | float | `[logits, vocab_size]` | |
///
/// Positions, sequences, pages and adapters are not inputs: the operators share them with the engine.
pub fn native(config: &ModelConfig, layout: &DecoderLayout) -> Option<proto::Model> {
    let tables = layout.native?;
    let mut graph = Native { g: Builder::new(NATIVE_WEIGHTS_FILE), config };
    graph.g.input("input_ids", DataType::Int64, &["tokens".into()]);
    graph.g.input("logit_positions", DataType::Int64, &["logits".into()]);
    let logits: [Dim; 2] = ["logits".into(), config.vocab_size.into()];
    graph.g.output("logits", DataType::Float, &logits);
    let dims = [config.max_position, config.head_dim / 2];
    graph.g.placed("rope.cos", DataType::Float, &dims, tables.cos);
    graph.g.placed("rope.sin", DataType::Float, &dims, tables.sin);

    let embedding = layout.embedding.packed?;
    graph.matrix("embed.weight", embedding, config.hidden_size);
    let sizes = [("outputs", config.vocab_size), ("inputs", config.hidden_size)];
    let mut x =
        graph.operator("Embedding", &["input_ids", "embed.weight"], "embed.out", embedding, &sizes, &[]);
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
    graph.linear(&Linear {
        out: "logits",
        x: &x,
        weight,
        matrix: head,
        outputs: config.vocab_size,
        inputs: config.hidden_size,
        prepare: Prepare::Norm(&norm),
        bias: None,
        residual: None,
        // No layer and no group: the head takes no adapters.
        place: None,
        picked: true,
    });
    Some(graph.g.finish("native"))
}

/// What a linear layer does to its input first.
enum Prepare<'a> {
    Nothing,
    /// RMS norm with these weights.
    Norm(&'a str),
}

struct Linear<'a> {
    out: &'a str,
    x: &'a str,
    weight: &'a str,
    matrix: PlacedMatrix,
    outputs: usize,
    inputs: usize,
    prepare: Prepare<'a>,
    bias: Option<&'a str>,
    residual: Option<&'a str>,
    /// Layer and adapter group.
    place: Option<(usize, usize)>,
    /// Its rows are those whose logits are wanted, and not all of the step's.
    picked: bool,
}

struct Native<'a> {
    g: Builder,
    config: &'a ModelConfig,
}

impl Native<'_> {
    /// `last`: of the last layer nothing is wanted but logits, so that what comes behind the attention is computed for
    /// the tokens alone that want some.
    fn layer(&mut self, i: usize, layer: &LayerLayout, x: &str, last: bool) -> Option<String> {
        let norm = self.floats(&format!("{i}.input_norm"), &layer.input_norm);
        let qkv = self.projection(i, 0, "qkv", &layer.qkv, x, Prepare::Norm(&norm), None, false)?;
        let (mut attended, mut x) = (self.attention(i, layer, &qkv), x.to_owned());
        if last {
            attended = self.g.node("Gather", &[&attended, "logit_positions"], "last.attention", &[]);
            x = self.g.node("Gather", &[&x, "logit_positions"], "last.x", &[]);
        }
        let x = self.projection(i, 1, "o", &layer.o, &attended, Prepare::Nothing, Some(&x), last)?;
        self.mlp(i, layer, &x, last)
    }

    /// Inputs: x, norm, both weights, both biases; those that a layer has not are left out.
    fn mlp(&mut self, i: usize, layer: &LayerLayout, x: &str, picked: bool) -> Option<String> {
        let norm = self.floats(&format!("{i}.post_norm"), &layer.post_attention_norm);
        let (gate_up, gate_up_bits, gate_up_bias) = self.weights(i, "gate_up", &layer.gate_up)?;
        let (down, down_bits, down_bias) = self.weights(i, "down", &layer.down)?;
        let inputs = [x, &norm, &gate_up, &down, &gate_up_bias, &down_bias];
        let attributes = [
            ("gate_up_bits", gate_up_bits.count().into()),
            ("down_bits", down_bits.count().into()),
            ("hidden", self.config.hidden_size.into()),
            ("intermediate", layer.down.inputs.into()),
            ("epsilon", self.config.rms_norm_eps.into()),
            ("layer", i.into()),
            ("picked", Value::Int(i64::from(picked))),
        ];
        let out = format!("{i}.mlp");
        self.g.push(NATIVE_DOMAIN, "Mlp", &inputs, &[&out], &attributes);
        Some(out)
    }

    /// A linear layer's weight and bias in the graph: the first one's name and bits, and the second one's name, "" for none.
    fn weights(
        &mut self,
        layer: usize,
        name: &str,
        linear: &crate::graph::Linear,
    ) -> Option<(String, Bits, String)> {
        let (matrix, weight) = (linear.packed?, format!("{layer}.{name}.weight"));
        self.matrix(&weight, matrix, linear.inputs);
        let bias = linear.bias.as_ref().map(|values| self.floats(&format!("{layer}.{name}.bias"), values));
        Some((weight, matrix.bits, bias.unwrap_or_default()))
    }

    #[allow(clippy::too_many_arguments)] // They are what tells the four layers apart.
    fn projection(
        &mut self,
        layer: usize,
        group: usize,
        name: &str,
        linear: &crate::graph::Linear,
        x: &str,
        prepare: Prepare<'_>,
        residual: Option<&str>,
        picked: bool,
    ) -> Option<String> {
        let (matrix, out) = (linear.packed?, format!("{layer}.{name}.out"));
        let (weight, _, bias) = self.weights(layer, name, linear)?;
        self.linear(&Linear {
            out: &out,
            x,
            weight: &weight,
            matrix,
            outputs: linear.outputs,
            inputs: linear.inputs,
            prepare,
            bias: (!bias.is_empty()).then_some(&bias),
            residual,
            place: Some((layer, group)),
            picked,
        });
        Some(out)
    }

    /// Inputs: x, weight, norm, bias, residual; those that a layer has not are left out.
    fn linear(&mut self, linear: &Linear<'_>) {
        let (prepare, norm) = match linear.prepare {
            Prepare::Nothing => (0, ""),
            Prepare::Norm(norm) => (1, norm),
        };
        let (layer, group) = linear.place.map_or((-1, -1), |(layer, group)| (layer as i64, group as i64));
        let inputs =
            [linear.x, linear.weight, norm, linear.bias.unwrap_or(""), linear.residual.unwrap_or("")];
        let attributes = [
            ("prepare", Value::Int(prepare)),
            ("layer", Value::Int(layer)),
            ("group", Value::Int(group)),
            ("epsilon", self.config.rms_norm_eps.into()),
            ("picked", Value::Int(i64::from(linear.picked))),
        ];
        let sizes = [("outputs", linear.outputs), ("inputs", linear.inputs)];
        self.operator("Linear", &inputs, linear.out, linear.matrix, &sizes, &attributes);
    }

    fn attention(&mut self, i: usize, layer: &LayerLayout, qkv: &str) -> String {
        let norms = layer
            .qk_norms
            .as_ref()
            .map(|(q, k)| (self.floats(&format!("{i}.q_norm"), q), self.floats(&format!("{i}.k_norm"), k)));
        let (q_norm, k_norm) = norms.as_ref().map_or(("", ""), |(q, k)| (q.as_str(), k.as_str()));
        let config = self.config;
        // 0: no window. One as long as the longest context hides nothing.
        let window = config.sliding_window.filter(|window| *window < config.max_position).unwrap_or(0);
        let attributes = [
            ("layer", i.into()),
            ("heads", config.heads.into()),
            ("kv_heads", config.kv_heads.into()),
            ("head_dim", config.head_dim.into()),
            ("window", window.into()),
            ("epsilon", config.rms_norm_eps.into()),
        ];
        let out = format!("{i}.attention");
        let inputs = [qkv, "rope.cos", "rope.sin", q_norm, k_norm];
        self.g.push(NATIVE_DOMAIN, "Attention", &inputs, &[&out], &attributes);
        out
    }

    fn operator(
        &mut self,
        op: &str,
        inputs: &[&str],
        out: &str,
        matrix: PlacedMatrix,
        sizes: &[(&str, usize)],
        more: &[(&str, Value)],
    ) -> String {
        let mut attributes = vec![("bits", Value::from(matrix.bits.count()))];
        attributes.extend(sizes.iter().map(|&(name, size)| (name, Value::from(size))));
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
