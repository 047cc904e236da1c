//! SentencePiece's rule, written down as it is defined, to compare with.

pub(super) struct SentencePiece {
    /// Texts and scores, in the order of their ids.
    pub(super) tokens: Vec<(String, f32)>,
}

impl SentencePiece {
    /// A vocabulary of three marks, all bytes, `words` from best to worst, and the letters of the words.
    pub(super) fn new(words: &[&str]) -> Self {
        let mut tokens: Vec<(String, f32)> =
            ["<unk>", "<s>", "</s>"].map(|mark| (mark.to_owned(), 0.0)).into();
        tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0)));
        let mut letters: Vec<char> = words.concat().chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let all = words.iter().map(|word| (*word).to_owned()).chain(letters.iter().map(char::to_string));
        tokens.extend(all.enumerate().map(|(rank, text)| (text, -(rank as f32))));
        Self { tokens }
    }

    fn find(&self, text: &str) -> Option<(u32, f32)> {
        let id = self.tokens.iter().position(|(token, _)| token == text)?;
        Some((id as u32, self.tokens[id].1))
    }

    /// Joins the two neighbours whose union has the best score, the leftmost first, until none is a token;
    /// what is no token then is spelled in bytes.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut parts: Vec<String> =
            format!(" {text}").replace(' ', "\u{2581}").chars().map(String::from).collect();
        loop {
            let mut best: Option<(usize, f32)> = None;
            for (i, pair) in parts.windows(2).enumerate() {
                if let Some((_, score)) = self.find(&pair.concat())
                    && best.is_none_or(|(_, found)| score > found)
                {
                    best = Some((i, score));
                }
            }
            let Some((i, _)) = best else { break };
            let right = parts.remove(i + 1);
            parts[i].push_str(&right);
        }
        parts
            .iter()
            .flat_map(|part| match self.find(part) {
                Some((id, _)) => vec![id],
                None => part.bytes().map(|byte| 3 + u32::from(byte)).collect(),
            })
            .collect()
    }
}
