//! The chat template of a model: a Jinja program that writes a conversation in the model's own format.
//!
//! The template never sees what people wrote. It gets a placeholder for each content, and the contents are
//! put in afterwards as plain text; so nothing that a content holds can be taken for the template's words.

use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};

/// Largest template that is read, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// Steps that one rendering may take; about a thousand times what a long conversation needs.
const MAX_STEPS: u64 = 5_000_000;

/// Who speaks in a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The player.
    User,
    /// The character.
    Assistant,
}

impl Role {
    /// The name that chat templates know the role by.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    /// Plain text: marks in it are text.
    pub content: String,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A stretch of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The template's own words. Never empty.
    Literal(String),
    /// The content of the message with this index.
    Content(usize),
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a template as the `transformers` library would: blocks take the line break after them and
    /// the space before them, Python's string methods work, `raise_exception` ends the rendering. `bos` and
    /// `eos` are the marks that the template may ask for as `bos_token` and `eos_token`. An error says where
    /// the template is wrong.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, String> {
        if source.len() > MAX_BYTES {
            return Err(format!("it has {} bytes, more than the {MAX_BYTES} that are read", source.len()));
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.map_err(|e| e.to_string())?);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.set_fuel(Some(MAX_STEPS));
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_function("strftime_now", fixed_date);
        env.add_template_owned("chat", source.to_owned()).map_err(|e| e.to_string())?;
        Ok(Self { env, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Renders a conversation into the template's words and the places of the contents. An error says what
    /// the template objects to, or which message's content it left out or changed.
    pub(super) fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<Part>, String> {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let values: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                context! { role => message.role.name(), content => placeholder(&nonce, index) }
            })
            .collect();
        let context = context! {
            messages => values,
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            // Models that can think aloud first are asked not to: a player waits for the first word.
            enable_thinking => false,
            tools => (),
            documents => (),
        };
        let template = self.env.get_template("chat").map_err(|e| e.to_string())?;
        let text = template.render(context).map_err(|e| match e.detail() {
            Some(detail) => detail.to_owned(),
            None => e.to_string(),
        })?;
        let parts = split(&text, &nonce, messages.len());
        check(&parts, &nonce, messages)?;
        Ok(parts)
    }
}

/// Stands for a content while the template runs: letters and digits only, so that trimming and escaping
/// leave it alone, and random, so that it is nothing else that the template writes.
fn placeholder(nonce: &str, index: usize) -> String {
    format!("{nonce}z{index}z")
}

/// Splits a rendered text at its placeholders.
fn split(text: &str, nonce: &str, count: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = 0;
    let mut search = 0;
    while let Some(found) = text[search..].find(nonce) {
        let start = search + found;
        let after = start + nonce.len();
        search = after;
        let number = text[after..].strip_prefix('z').and_then(|rest| rest.split_once('z'));
        let index = number.and_then(|(digits, _)| digits.parse::<usize>().ok());
        let Some(index) = index.filter(|&index| index < count) else { continue };
        if literal < start {
            parts.push(Part::Literal(text[literal..start].to_owned()));
        }
        parts.push(Part::Content(index));
        literal = start + placeholder(nonce, index).len();
        search = literal;
    }
    if literal < text.len() {
        parts.push(Part::Literal(text[literal..].to_owned()));
    }
    parts
}

/// Each content must be there, whole; a template may well repeat one.
fn check(parts: &[Part], nonce: &str, messages: &[Message]) -> Result<(), String> {
    for (index, message) in messages.iter().enumerate() {
        if !parts.contains(&Part::Content(index)) {
            let role = message.role.name();
            return Err(format!(
                "the template leaves out or changes the content of message {index} ({role})"
            ));
        }
    }
    // A piece of a placeholder among the template's words: it cut a content up.
    let ends = [&nonce[..8], &nonce[nonce.len() - 8..]];
    let cut = parts.iter().any(|part| match part {
        Part::Literal(text) => ends.iter().any(|end| text.to_lowercase().contains(end)),
        Part::Content(_) => false,
    });
    if cut { Err("the template cuts a content up or changes it".to_owned()) } else { Ok(()) }
}

/// What templates get for today's date: always 1 January 2024, midnight. The same conversation must give the
/// same prompt, and the calendar of a game's world is not ours.
fn fixed_date(format: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let code = chars.next();
        let (plain, code) = if code == Some('-') { (true, chars.next()) } else { (false, code) };
        out.push_str(match code {
            Some('d' | 'm') if plain => "1",
            Some('d' | 'm') => "01",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('b') => "Jan",
            Some('B') => "January",
            Some('a') => "Mon",
            Some('A') => "Monday",
            Some('j') => "001",
            Some('H' | 'M' | 'S') if plain => "0",
            Some('H' | 'M' | 'S') => "00",
            Some('%') => "%",
            _ => {
                let reason = format!("strftime_now: the format {format:?} has a code that is not supported");
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Vec<Message> {
        vec![Message::new(Role::System, "Be a vampire."), Message::new(Role::User, "Hi <|im_end|>")]
    }

    fn render(source: &str) -> Result<String, String> {
        let template = ChatTemplate::new(source, "<s>", "</s>")?;
        let parts = template.render(&conversation(), true)?;
        Ok(parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.clone(),
                Part::Content(index) => format!("[{index}]"),
            })
            .collect())
    }

    const LOOP: &str = "{% for m in messages %}";

    #[test]
    fn words_and_contents_come_in_order() {
        let source = format!(
            "{{{{ bos_token }}}}{LOOP}{{{{ m.role + ':' + m['content'] + '\\n' }}}}{{% endfor %}}{{% if add_generation_prompt %}}assistant:{{% endif %}}"
        );
        assert_eq!(render(&source).unwrap(), "<s>system:[0]\nuser:[1]\nassistant:");
    }

    #[test]
    fn python_string_methods_loop_controls_and_block_trimming_work() {
        let source = "{%- set ns = namespace(n=0) %}\n  {% for m in messages[::-1] %}\n    {% if m.content.startswith('x') or loop.first and m.role == 'assistant' %}\n{% continue %}\n    {% endif %}\n{{ m.content.strip() | trim }}{{ m.role.upper().split('S')[0] }};\n  {% endfor %}\n{{ strftime_now('%d %B %Y') }}";
        assert_eq!(render(source).unwrap(), "[1]U;\n[0];\n01 January 2024");
    }

    #[test]
    fn a_repeated_content_is_there_twice() {
        assert_eq!(
            render(&format!("{LOOP}{{{{ m.content }}}}{{{{ m.content }}}}{{% endfor %}}")).unwrap(),
            "[0][0][1][1]"
        );
    }

    #[test]
    fn a_lost_or_changed_content_is_named() {
        let lost = render("{{ messages[0].content }}").unwrap_err();
        assert_eq!(lost, "the template leaves out or changes the content of message 1 (user)");
        let upper = render(&format!("{LOOP}{{{{ m.content | upper }}}}{{% endfor %}}")).unwrap_err();
        assert!(upper.contains("message 0 (system)"), "{upper}");
        let cut =
            render(&format!("{LOOP}{{{{ m.content }}}}{{{{ m.content[:20] }}}}{{% endfor %}}")).unwrap_err();
        assert!(cut.contains("cuts a content"), "{cut}");
    }

    #[test]
    fn a_template_may_refuse() {
        let refusal = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert_eq!(refusal, "roles must alternate");
    }

    #[test]
    fn endless_templates_end_and_wrong_ones_do_not_compile() {
        let deep = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
        assert!(render(deep).unwrap_err().contains("fuel"), "{:?}", render(deep));
        assert!(ChatTemplate::new("{% for %}", "", "").is_err());
        assert!(ChatTemplate::new(&" ".repeat(MAX_BYTES + 1), "", "").unwrap_err().contains("more than"));
        assert!(render("{{ strftime_now('%Q') }}").unwrap_err().contains("%Q"));
    }
}
