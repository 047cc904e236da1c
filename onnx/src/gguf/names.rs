//! GGUF tensor names → Hugging Face names.

/// The Hugging Face name of a Llama tensor; `None` where there is no counterpart.
pub(super) fn hugging_face_name(gguf: &str) -> Option<String> {
    let name = match gguf {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => return layer_name(gguf),
    };
    Some(name.to_owned())
}

/// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`
fn layer_name(gguf: &str) -> Option<String> {
    let (layer, name) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let name = match name {
        "attn_norm.weight" => "input_layernorm.weight",
        "ffn_norm.weight" => "post_attention_layernorm.weight",
        "attn_q.weight" => "self_attn.q_proj.weight",
        "attn_k.weight" => "self_attn.k_proj.weight",
        "attn_v.weight" => "self_attn.v_proj.weight",
        "attn_output.weight" => "self_attn.o_proj.weight",
        "ffn_gate.weight" => "mlp.gate_proj.weight",
        "ffn_up.weight" => "mlp.up_proj.weight",
        "ffn_down.weight" => "mlp.down_proj.weight",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{name}"))
}
