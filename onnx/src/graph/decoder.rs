use crate::{
    AdapterGroup, GraphInfo, ModelConfig, Precision,
    graph::{
        DecoderLayout, Embedding, LayerLayout, Linear, WEIGHTS_FILE,
        builder::{Builder, Dim, Value},
    },
    proto::{self, DataType},
    quant::BLOCK,
};

/// `MatMulNBits` quantizes the activations to 8 bits too, in blocks of 32, and multiplies integers.
const INTEGER_PRODUCTS: Value = Value::Int(4);

/// Builds the decoder. The inputs and outputs are those that the crate's README lists.
pub fn decoder(config: &ModelConfig, precision: Precision, layout: &DecoderLayout) -> proto::Model {
    let mut graph =
        Decoder { g: Builder::new(WEIGHTS_FILE), config, precision, groups: GraphInfo::new(config).groups };
    graph.declare();
    graph.tables(layout);
    let mut stream = Stream { new: graph.embed(&layout.embedding), sum: None };
    for (i, layer) in layout.layers.iter().enumerate() {
        stream = graph.layer(i, layer, &stream);
    }
    let (normed, _) = graph.norm("final_norm", &layout.final_norm, &stream);
    graph.head(&normed, &layout.head);
    graph.g.finish("decoder")
}

/// The residual stream between two sublayers: the newest addition and the sum before it. They are added by
/// the next norm, which comes fused with the addition.
struct Stream {
    new: String,
    /// `None` before the first sublayer.
    sum: Option<String>,
}

struct Decoder<'a> {
    g: Builder,
    config: &'a ModelConfig,
    precision: Precision,
    groups: Vec<AdapterGroup>,
}

impl Decoder<'_> {
    /// The type of activations, of the KV cache and of adapters.
    fn float(&self) -> DataType {
        match self.precision {
            Precision::Fp32 | Precision::Int8 => DataType::Float,
            Precision::Fp16 => DataType::Float16,
        }
    }

    fn declare(&mut self) {
        let (float, config) = (self.float(), self.config);
        let g = &mut self.g;
        g.input("input_ids", DataType::Int64, &["batch".into(), "seq".into()]);
        g.input("seqlens_k", DataType::Int32, &["batch".into()]);
        g.input("total_sequence_length", DataType::Int32, &[]);
        g.input("logit_positions", DataType::Int64, &["logits".into()]);
        g.output("logits", DataType::Float, &["logits".into(), config.vocab_size.into()]);
        let cache: [Dim; 4] =
            ["batch".into(), config.kv_heads.into(), "max_len".into(), config.head_dim.into()];
        for i in 0..config.layers {
            for part in ["key", "value"] {
                g.input(&format!("past.{i}.{part}"), float, &cache);
                g.output(&format!("present.{i}.{part}"), float, &cache);
            }
        }
        for group in &self.groups {
            let name = &group.name;
            let rank = Dim::Symbol(format!("rank_{name}"));
            g.input(&format!("lora.{name}.gate"), float, &["batch".into(), 1.into(), rank.clone()]);
            for i in 0..config.layers {
                g.input(&format!("lora.{i}.{name}.a"), float, &[group.inputs.into(), rank.clone()]);
                g.input(&format!("lora.{i}.{name}.b"), float, &[rank.clone(), group.outputs.into()]);
            }
        }
    }

    /// What all layers share.
    fn tables(&mut self, layout: &DecoderLayout) {
        let (float, config) = (self.float(), self.config);
        let dims = [config.max_position, config.head_dim / 2];
        self.g.placed("rope.cos", float, &dims, layout.cos);
        self.g.placed("rope.sin", float, &dims, layout.sin);
        self.g.integers("shape.flat", &[-1, config.hidden_size as i64]);
        if layout.layers.iter().any(|layer| layer.qk_norms.is_some()) {
            let (heads, kv_heads, dim) =
                (config.heads as i64, config.kv_heads as i64, config.head_dim as i64);
            // Zero keeps a dimension as it is.
            self.g.integers("shape.q_heads", &[0, 0, heads, dim]);
            self.g.integers("shape.q", &[0, 0, heads * dim]);
            self.g.integers("shape.k_heads", &[0, 0, kv_heads, dim]);
            self.g.integers("shape.k", &[0, 0, kv_heads * dim]);
            self.g.integers("split.qkv", &[heads * dim, kv_heads * dim, kv_heads * dim]);
        }
    }

    fn embed(&mut self, embedding: &Embedding) -> String {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        if let Some(scales) = embedding.scales {
            self.g.placed("embed.weight", DataType::Uint8, &[vocab, hidden], embedding.weight);
            self.g.placed("embed.scales", DataType::Float, &[vocab, hidden / BLOCK], scales);
            let attributes = [
                ("bits", 8.into()),
                ("block_size", BLOCK.into()),
                ("gather_axis", 0.into()),
                ("quantize_axis", 1.into()),
            ];
            let inputs = ["embed.weight", "input_ids", "embed.scales"];
            return self.g.microsoft("GatherBlockQuantized", &inputs, "embed.out", &attributes);
        }
        self.g.placed("embed.weight", self.float(), &[vocab, hidden], embedding.weight);
        self.g.node("Gather", &["embed.weight", "input_ids"], "embed.out", &[])
    }

    fn layer(&mut self, i: usize, layer: &LayerLayout, stream: &Stream) -> Stream {
        let (normed, sum) = self.norm(&format!("{i}.input_norm"), &layer.input_norm, stream);
        let attended = self.attention(i, layer, &normed);
        let new = self.linear(i, "o", &layer.o, &attended);
        let stream = Stream { new, sum: Some(sum) };
        let (normed, sum) = self.norm(&format!("{i}.post_norm"), &layer.post_attention_norm, &stream);
        let gate_up = self.linear(i, "gate_up", &layer.gate_up, &normed);
        let activated = self.swiglu(i, &gate_up);
        let new = self.linear(i, "down", &layer.down, &activated);
        Stream { new, sum: Some(sum) }
    }

    /// RMS norm of the stream; returns the normed values and the stream's new sum.
    fn norm(&mut self, name: &str, weight: &[f32], stream: &Stream) -> (String, String) {
        self.floats(name, weight);
        let out = format!("{name}.out");
        let epsilon = ("epsilon", self.config.rms_norm_eps.into());
        let Some(sum) = &stream.sum else {
            // ONNX Runtime registers this one under ONNX's own domain.
            let attributes = [epsilon, ("axis", Value::Int(-1)), ("stash_type", Value::Int(1))];
            self.g.node("SimplifiedLayerNormalization", &[&stream.new, name], &out, &attributes);
            return (out, stream.new.clone());
        };
        let new_sum = format!("{name}.sum");
        let inputs = [stream.new.as_str(), sum, name];
        let outputs = [out.as_str(), "", "", &new_sum];
        self.g.push("com.microsoft", "SkipSimplifiedLayerNormalization", &inputs, &outputs, &[epsilon]);
        (out, new_sum)
    }

    fn attention(&mut self, i: usize, layer: &LayerLayout, x: &str) -> String {
        let qkv = self.linear(i, "qkv", &layer.qkv, x);
        // Packed q, k and v are taken apart by the operator itself; heads must be normed before.
        let (q, k, v) = match &layer.qk_norms {
            None => (qkv, String::new(), String::new()),
            Some(norms) => self.normed_heads(i, &qkv, norms),
        };
        let (out, past_key, past_value) =
            (format!("{i}.attention"), format!("past.{i}.key"), format!("past.{i}.value"));
        let (present_key, present_value) = (format!("present.{i}.key"), format!("present.{i}.value"));
        let config = self.config;
        let mut attributes = vec![
            ("num_heads", config.heads.into()),
            ("kv_num_heads", config.kv_heads.into()),
            ("do_rotary", 1.into()),
            ("rotary_interleaved", 0.into()),
        ];
        // A window as long as the longest context hides nothing.
        if let Some(window) = config.sliding_window.filter(|&window| window < config.max_position) {
            attributes.push(("local_window_size", window.into()));
        }
        self.g.push(
            "com.microsoft",
            "GroupQueryAttention",
            &[
                &q,
                &k,
                &v,
                &past_key,
                &past_value,
                "seqlens_k",
                "total_sequence_length",
                "rope.cos",
                "rope.sin",
            ],
            &[&out, &present_key, &present_value],
            &attributes,
        );
        out
    }

    /// Splits q, k and v and norms every head of q and k. (`GroupQueryAttention` can do this itself, but
    /// not on the CPU.)
    fn normed_heads(
        &mut self,
        i: usize,
        qkv: &str,
        (q_norm, k_norm): &(Vec<f32>, Vec<f32>),
    ) -> (String, String, String) {
        let [q, k, v] = ["q", "k", "v"].map(|part| format!("{i}.{part}"));
        self.g.push("", "Split", &[qkv, "split.qkv"], &[&q, &k, &v], &[("axis", Value::Int(-1))]);
        let mut normed = |part: &str, values: &str, weight: &[f32]| {
            let name = format!("{i}.{part}_norm");
            self.floats(&name, weight);
            let heads = format!("shape.{part}_heads");
            let heads = self.g.node("Reshape", &[values, &heads], &format!("{name}.heads"), &[]);
            let attributes = [
                ("epsilon", self.config.rms_norm_eps.into()),
                ("axis", Value::Int(-1)),
                ("stash_type", Value::Int(1)),
            ];
            let out = format!("{name}.out");
            let out = self.g.node("SimplifiedLayerNormalization", &[&heads, &name], &out, &attributes);
            let flat = format!("shape.{part}");
            self.g.node("Reshape", &[&out, &flat], &format!("{name}.flat"), &[])
        };
        (normed("q", &q, q_norm), normed("k", &k, k_norm), v)
    }

    /// `silu(gate) · up`. ONNX Runtime makes one operator of the sigmoid and the product after it.
    fn swiglu(&mut self, i: usize, gate_up: &str) -> String {
        let (gate, up) = (format!("{i}.gate"), format!("{i}.up"));
        let attributes = [("axis", Value::Int(-1)), ("num_outputs", 2.into())];
        self.g.push("", "Split", &[gate_up], &[&gate, &up], &attributes);
        let sigmoid = self.g.node("Sigmoid", &[&gate], &format!("{i}.sigmoid"), &[]);
        let silu = self.g.node("Mul", &[&gate, &sigmoid], &format!("{i}.silu"), &[]);
        self.g.node("Mul", &[&silu, &up], &format!("{i}.activated"), &[])
    }

    /// A fused linear layer of a decoder layer and its adapters: `W x + ((x · a) ⊙ gate) · b`.
    fn linear(&mut self, i: usize, group: &str, linear: &Linear, x: &str) -> String {
        let name = format!("{i}.{group}");
        let base = self.product(&name, linear, x);
        let [a, b] = ["a", "b"].map(|part| format!("lora.{name}.{part}"));
        let down = self.g.node("MatMul", &[x, &a], &format!("{name}.lora.a"), &[]);
        let gate = format!("lora.{group}.gate");
        let gated = self.g.node("Mul", &[&down, &gate], &format!("{name}.lora.gated"), &[]);
        let up = self.g.node("MatMul", &[&gated, &b], &format!("{name}.lora.b"), &[]);
        self.g.node("Add", &[&base, &up], &format!("{name}.out"), &[])
    }

    /// `W x` and the bias.
    fn product(&mut self, name: &str, linear: &Linear, x: &str) -> String {
        let (weight, out) = (format!("{name}.weight"), format!("{name}.base"));
        let product = if let Some(scales) = linear.scales {
            self.quantized(name, [linear.inputs, linear.outputs], linear.weight, scales, x, &out)
        } else {
            let dims = [linear.inputs, linear.outputs];
            self.g.placed(&weight, self.float(), &dims, linear.weight);
            self.g.node("MatMul", &[x, &weight], &out, &[])
        };
        let Some(values) = &linear.bias else { return product };
        let bias = format!("{name}.bias");
        self.floats(&bias, values);
        self.g.node("Add", &[&product, &bias], &format!("{name}.biased"), &[])
    }

    fn quantized(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        at: crate::graph::Placed,
        scales_at: crate::graph::Placed,
        x: &str,
        out: &str,
    ) -> String {
        let (weight, scales) = (format!("{name}.weight"), format!("{name}.scales"));
        let blocks = inputs / BLOCK;
        self.g.placed(&weight, DataType::Uint8, &[outputs, blocks, BLOCK], at);
        self.g.placed(&scales, DataType::Float, &[outputs, blocks], scales_at);
        let attributes = [
            ("bits", 8.into()),
            ("block_size", BLOCK.into()),
            ("K", inputs.into()),
            ("N", outputs.into()),
            ("accuracy_level", INTEGER_PRODUCTS),
        ];
        self.g.microsoft("MatMulNBits", &[x, &weight, &scales], out, &attributes)
    }

    /// Picks the positions whose logits are wanted and computes those alone.
    fn head(&mut self, normed: &str, head: &Embedding) {
        let flat = self.g.node("Reshape", &[normed, "shape.flat"], "head.flat", &[]);
        let picked = self.g.node("Gather", &[&flat, "logit_positions"], "head.in", &[]);
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        if let Some(scales) = head.scales {
            self.quantized("head", [hidden, vocab], head.weight, scales, &picked, "logits");
            return;
        }
        // Rows are tokens, as in the embedding: `Gemm` reads them so, and the two can share their bytes.
        self.g.placed("head.weight", self.float(), &[vocab, hidden], head.weight);
        let transposed = [("transB", Value::Int(1))];
        if self.precision == Precision::Fp16 {
            self.g.node("Gemm", &[&picked, "head.weight"], "head.out", &transposed);
            let float = ("to", Value::Int(DataType::Float as i64));
            self.g.node("Cast", &["head.out"], "logits", &[float]);
        } else {
            self.g.node("Gemm", &[&picked, "head.weight"], "logits", &transposed);
        }
    }

    /// Adds a small list of floats in the graph's precision.
    fn floats(&mut self, name: &str, values: &[f32]) {
        let float = self.float();
        let bytes = if float == DataType::Float16 {
            values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        self.g.constant(name, float, &[values.len()], bytes);
    }
}
