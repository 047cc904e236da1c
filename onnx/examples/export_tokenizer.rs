//! Writes the tokenizer and the chat template of a checkpoint: `export_tokenizer CHECKPOINT OUT_DIR`.

use std::path::PathBuf;
use std::{env, fs};

use npc_onnx::Checkpoint;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(source), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: export_tokenizer CHECKPOINT OUT_DIR".into());
    };
    let checkpoint = Checkpoint::open(&source)?;
    fs::write(out.join("tokenizer.json"), checkpoint.tokenizer_json()?)?;
    if let Some(template) = checkpoint.chat_template() {
        fs::write(out.join("chat_template.jinja"), template)?;
    }
    println!("{} {} {:#?}", checkpoint.name(), checkpoint.sha256(), checkpoint.config());
    Ok(())
}
