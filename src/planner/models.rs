//! Base models: what their architecture is, and those that are known by name.

#[cfg(test)]
mod tests;

use serde::Deserialize;

use super::input::{self, InputError};

/// The file with the models that are known by name.
const FILE: &str = "config/models.toml";

/// Its text.
const BUILT_IN: &str = include_str!("../../config/models.toml");

/// How far the count that the figures give may lie from the published one, as a share of it.
const TOLERANCE: f64 = 0.01;

/// A decoder of the Llama family: grouped-query attention, a gated feed-forward layer, RMS norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    pub layers: u32,
    /// Numbers that stand for a token between the layers.
    pub hidden: u32,
    /// Numbers inside the feed-forward layer.
    pub intermediate: u32,
    pub heads: u32,
    /// Heads that keys and values have; a divisor of `heads`.
    pub kv_heads: u32,
    pub head_dim: u32,
    /// Tokens that there are.
    pub vocab: u32,
    /// Whether the head is the embedding matrix, and stored once.
    pub tied_embeddings: bool,
    /// Whether the projections q, k and v have a bias.
    pub attention_bias: bool,
}

/// Weights by what they belong to. A head that is tied to the embedding is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    pub embedding: u64,
    pub head: u64,
    /// The seven projections of each layer.
    pub linear: u64,
    /// Norms, and the biases of projections.
    pub small: u64,
}

impl Parameters {
    pub fn total(self) -> u64 {
        self.embedding + self.head + self.linear + self.small
    }
}

impl Architecture {
    /// Checks the ranges; `key` is what messages put before a field's name.
    pub fn check(&self, key: &str) -> Result<(), InputError> {
        let whole = |field: &str, value: u32, low: u64, high: u64| {
            input::whole(&format!("{key}.{field}"), u64::from(value), low, high)
        };
        whole("layers", self.layers, 1, 1024)?;
        whole("hidden", self.hidden, 1, 65_536)?;
        whole("intermediate", self.intermediate, 1, 1_048_576)?;
        whole("heads", self.heads, 1, 1024)?;
        whole("kv_heads", self.kv_heads, 1, u64::from(self.heads))?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let wanted = format!("a divisor of heads ({})", self.heads);
            return Err(InputError::bad(format!("{key}.kv_heads"), self.kv_heads, wanted));
        }
        whole("head_dim", self.head_dim, 1, 1024)?;
        whole("vocab", self.vocab, 2, 4_194_304)
    }

    /// Outputs of q, and inputs of o.
    pub fn query_size(&self) -> u64 {
        u64::from(self.heads) * u64::from(self.head_dim)
    }

    /// Outputs of k, and of v.
    pub fn kv_size(&self) -> u64 {
        u64::from(self.kv_heads) * u64::from(self.head_dim)
    }

    /// Outputs of all linear layers, embedding and head left out.
    pub fn linear_outputs(&self) -> u64 {
        let layer = self.query_size()
            + 2 * self.kv_size()
            + 2 * u64::from(self.hidden)
            + 2 * u64::from(self.intermediate);
        u64::from(self.layers) * layer
    }

    pub fn parameters(&self) -> Parameters {
        let [layers, hidden, vocab] = [self.layers, self.hidden, self.vocab].map(u64::from);
        let (query, kv) = (self.query_size(), self.kv_size());
        let feed_forward = 3 * hidden * u64::from(self.intermediate);
        let biases = if self.attention_bias { query + 2 * kv } else { 0 };
        let embedding = vocab * hidden;
        Parameters {
            embedding,
            head: if self.tied_embeddings { 0 } else { embedding },
            linear: layers * (hidden * (2 * query + 2 * kv) + feed_forward),
            small: layers * (2 * hidden + biases) + hidden,
        }
    }
}

/// What is known of a model that lies in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folder {
    /// Size of `native.bin`, which the native decoder reads; `None`: there is none.
    pub native_bytes: Option<u64>,
}

/// A base model that is known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseModel {
    /// Such as `llama-3.1-8b`.
    pub name: String,
    /// As people write it.
    pub title: String,
    pub architecture: Architecture,
    /// Tokens that a sequence may have.
    pub context_tokens: u32,
    /// Weights in the published files.
    pub published_parameters: u64,
    /// Where the figures are from.
    pub source: String,
    /// `None`: it is one of the file's.
    pub folder: Option<Folder>,
}

/// Base models by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models(Vec<BaseModel>);

impl Models {
    /// Those of `config/models.toml`.
    pub fn built_in() -> Result<Self, InputError> {
        Self::parse(FILE, BUILT_IN)
    }

    /// Reads a file of the same form; `file` is its name in messages.
    ///
    /// # Errors
    /// No such TOML, an unknown or missing key, a figure outside its range, a name twice, or figures that give another
    /// number of weights than `parameters` says, by more than 1 %.
    pub fn parse(file: &str, text: &str) -> Result<Self, InputError> {
        let File { model } = input::parse(file, text)?;
        let models: Vec<BaseModel> = model.into_iter().map(Row::into_model).collect();
        input::unique(&format!("{file}: model.name"), models.iter().map(|model| model.name.as_str()))?;
        for (index, model) in models.iter().enumerate() {
            model.check(&format!("{file}: model[{index}]"))?;
        }
        Ok(Self(models))
    }

    /// The model of a name; upper and lower case are the same.
    pub fn get(&self, name: &str) -> Result<&BaseModel, InputError> {
        self.0.iter().find(|model| model.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            InputError::unknown("base model", name, self.0.iter().map(|model| model.name.as_str()))
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|model| model.name.eq_ignore_ascii_case(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &BaseModel> {
        self.0.iter()
    }

    /// Adds a model, such as one that lies in a folder. It comes before one of the same name.
    ///
    /// # Errors
    /// A figure outside its range.
    pub fn add(&mut self, model: BaseModel) -> Result<(), InputError> {
        model.check(&format!("model {}", model.name))?;
        self.0.insert(0, model);
        Ok(())
    }
}

impl BaseModel {
    fn check(&self, key: &str) -> Result<(), InputError> {
        for (field, value) in [("name", &self.name), ("title", &self.title), ("source", &self.source)] {
            input::text(&format!("{key}.{field}"), value)?;
        }
        self.architecture.check(key)?;
        input::whole(&format!("{key}.context_tokens"), u64::from(self.context_tokens), 1, 1 << 24)?;
        let counted = self.architecture.parameters().total();
        if counted.abs_diff(self.published_parameters) as f64 > TOLERANCE * self.published_parameters as f64 {
            let wanted = format!("within 1 % of {counted}, which the other figures give");
            return Err(InputError::bad(format!("{key}.parameters"), self.published_parameters, wanted));
        }
        Ok(())
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Row>,
}

/// A model in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    title: String,
    layers: u32,
    hidden: u32,
    intermediate: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab: u32,
    tied_embeddings: bool,
    attention_bias: bool,
    context_tokens: u32,
    parameters: u64,
    source: String,
}

impl Row {
    fn into_model(self) -> BaseModel {
        let Self { layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, .. } = self;
        let Self { tied_embeddings, attention_bias, .. } = self;
        BaseModel {
            name: self.name,
            title: self.title,
            architecture: Architecture {
                layers,
                hidden,
                intermediate,
                heads,
                kv_heads,
                head_dim,
                vocab,
                tied_embeddings,
                attention_bias,
            },
            context_tokens: self.context_tokens,
            published_parameters: self.parameters,
            source: self.source,
            folder: None,
        }
    }
}
