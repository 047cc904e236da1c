//! Models that lie in a folder, and what a model's own context means.

use super::{Data, on};
use crate::planner::fleet::{Inputs, Request, Spec, model_of_folder, plan};
use crate::planner::memory::WeightScheme;
use crate::planner::models::{BaseModel, Folder, Models};

#[test]
fn folders_say_what_their_model_is() {
    let config = r#"{"model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": true,
        "max_position_embeddings": 8192, "rope_theta": 100000}"#;
    let data = Data::new();
    let small = data.models.get("smollm2-135m").unwrap();
    let read = model_of_folder("mine", "mine/config.json", config).unwrap();
    assert_eq!(read.architecture, small.architecture);
    let toml = "format = 3\n[model]\narchitecture = \"qwen2\"\nlayers = 30\nhidden_size = 576\nintermediate_size = 1536\n\
                heads = 9\nkv_heads = 3\nhead_dim = 64\nvocab_size = 49152\ntie_word_embeddings = true\nmax_position = 8192\n";
    let imported = model_of_folder("mine", "mine/model.toml", toml).unwrap();
    assert_eq!(
        imported.architecture,
        crate::planner::models::Architecture { attention_bias: true, ..small.architecture }
    );
    let said = |text: &str| model_of_folder("mine", "mine/config.json", text).unwrap_err().to_string();
    assert!(said("{}").starts_with("mine/config.json: "));
    assert!(said(&config.replace("30,", "0,")).contains("mine/config.json.layers is 0"));
    let mut models = Models::built_in().unwrap();
    models.add(read).unwrap();
    let inputs = Inputs { models: &models, ..data.inputs() };
    assert_eq!(plan(&on("mine", 50), &inputs).unwrap().chains[0].model, "mine");
}

#[test]
fn weights_in_a_folder_have_the_format_that_its_file_is_nearest_to() {
    let data = Data::new();
    let known = data.models.get("smollm2-360m").unwrap();
    let schemes = [WeightScheme::gateway_native(8192), WeightScheme::gateway_native_of_4_bit(8192)];
    let [eight, four] = schemes.map(|scheme| scheme.bytes(&known.architecture));
    for (native_bytes, wanted) in
        [(None, eight), (Some(eight + 5000), eight), (Some(four - 5000), four), (Some(0), four)]
    {
        let mut models = data.models.clone();
        let folder = Some(Folder { native_bytes });
        models.add(BaseModel { name: "mine".into(), folder, ..known.clone() }).unwrap();
        let inputs = Inputs { models: &models, ..data.inputs() };
        // Rotary tables are those of the model, not of what is asked for.
        let request = Request { context_tokens: 512, ..on("mine", 10) };
        assert_eq!(Spec::all(&request, &inputs).unwrap()[0].weights_bytes, wanted, "{native_bytes:?}");
    }
}

#[test]
fn a_context_above_the_models_is_refused() {
    let request = Request { context_tokens: 16_384, ..on("smollm2-135m", 10) };
    assert_eq!(
        plan(&request, &Data::new().inputs()).unwrap_err().to_string(),
        "context_tokens is 16384, but must be at most 8192, the context of smollm2-135m"
    );
}
