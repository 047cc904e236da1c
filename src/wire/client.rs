//! Client frames as the server reads them: every key checked, every bound named.

use super::codec::{CodecError, Subprotocol, decode_tree};
use super::fields::{Field, Fields, Invalid, Range};
use super::frame::{Cid, ClientFrame};
use super::payload::{
    Action, ActionResult, Auth, Cancel, ClientInfo, ErrorPayload, Event, EventKind, GenerationOptions,
    Heartbeat, Identify, NpcAct, NpcFocus, NpcJoin, NpcLeave, Playback, Resume, SayFrame,
};
use super::value::{Map, Value, get};
use super::{ErrorCode, PROTOCOL, TASKS};

/// Longest id of an NPC, a turn or a player.
pub const MAX_ID_CHARS: usize = 64;
/// Longest name of an archetype.
pub const MAX_ARCHETYPE_CHARS: usize = 32;
/// Longest name of an NPC, of an action, of a trait; longest name or version of a client.
pub const MAX_NAME_CHARS: usize = 64;
/// Longest description of an action, and longest `reason` of an `action.result`.
pub const MAX_DESCRIPTION_CHARS: usize = 256;
/// Most entries of `personality`.
pub const MAX_TRAITS: usize = 64;
/// Most player ids of `audience`, most ids of `witnesses`.
pub const MAX_AUDIENCE: usize = 64;
/// Most texts of `generation.stop`, and the longest of them.
pub const MAX_STOPS: usize = 8;
pub const MAX_STOP_CHARS: usize = 64;
/// Largest `generation.max_tokens`.
pub const MAX_TOKENS: u32 = 4096;

pub(super) const TEMPERATURE: Range = Range::closed(0.0, 2.0, "between 0 and 2");
pub(super) const TOP_P: Range = Range::above(0.0, 1.0, "above 0 and at most 1");
pub(super) const MIN_P: Range = Range::below(0.0, 1.0, "at least 0 and below 1");
pub(super) const MIX_WEIGHT: Range = Range::closed(-2.0, 2.0, "between -2 and 2");
pub(super) const TRAIT: Range = Range::closed(-1.0, 1.0, "between -1 and 1");
pub(super) const IMPORTANCE: Range = Range::closed(0.0, 1.0, "between 0 and 1");

/// Limits that the server's settings decide; the others are constants of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest `text` of a `say`, in characters.
    pub text_chars: usize,
    /// Longest `context` of a `say`, in characters.
    pub context_chars: usize,
    /// Most `actions` of a `say`.
    pub actions: usize,
}

/// Why a message is no frame. Any of these closes the socket with 4500.
#[derive(Debug, thiserror::Error)]
pub enum NotAFrame {
    #[error(transparent)]
    Undecodable(#[from] CodecError),
    #[error("the message is {0}, not a map")]
    NotAMap(&'static str),
    #[error("the frame has no `op`")]
    NoOp,
}

/// A message that is a frame: a map with an `op`. Nothing else about it is known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFrame<'m> {
    map: Map<'m>,
    op: String,
}

impl<'m> RawFrame<'m> {
    /// Reads a message. A key that comes twice counts as its last value; keys that are no strings are passed
    /// over.
    pub fn decode(subprotocol: Subprotocol, message: &'m [u8]) -> Result<Self, NotAFrame> {
        let map = match decode_tree(subprotocol, message)? {
            Value::Map(map) => map,
            other => return Err(NotAFrame::NotAMap(other.kind())),
        };
        match get(&map, "op") {
            Some(Value::Str(op)) => Ok(Self { op: op.to_string(), map }),
            _ => Err(NotAFrame::NoOp),
        }
    }

    /// What the frame says it is.
    pub fn op(&self) -> &str {
        &self.op
    }

    /// The client's mark; one that is neither str nor uint is `bad_payload`.
    pub fn cid(&self) -> Result<Option<Cid>, Box<ErrorPayload>> {
        match get(&self.map, "cid") {
            None => Ok(None),
            Some(Value::Str(cid)) => Ok(Some(Cid::Str(cid.to_string()))),
            Some(Value::Uint(cid)) => Ok(Some(Cid::Uint(*cid))),
            Some(other) => {
                let problem = format!("must be a string or an unsigned integer, not {}", other.kind());
                Err(Invalid::new("cid", problem).into())
            }
        }
    }

    /// The frame with its payload checked. The error names the turn and the NPC of the frame if it can.
    pub fn parse(&self, limits: &Limits) -> Result<ClientFrame, Box<ErrorPayload>> {
        let d = match get(&self.map, "d") {
            None => &[][..],
            Some(Value::Map(map)) => map.as_slice(),
            Some(other) => {
                return Err(Invalid::new("d", format!("must be a map, not {}", other.kind())).into());
            }
        };
        let d = Fields::root(d);
        let frame = match self.op.as_str() {
            "identify" => identify(&d).map(ClientFrame::Identify),
            "resume" => resume(&d).map(ClientFrame::Resume),
            "heartbeat" => heartbeat(&d).map(ClientFrame::Heartbeat),
            "npc.join" => npc_join(&d).map(ClientFrame::NpcJoin),
            "npc.focus" => npc(&d).map(|npc| ClientFrame::NpcFocus(NpcFocus { npc })),
            "npc.leave" => npc(&d).map(|npc| ClientFrame::NpcLeave(NpcLeave { npc })),
            "say" => say(&d, limits).map(|say| ClientFrame::Say(Box::new(say))),
            "cancel" => cancel(&d).map(ClientFrame::Cancel),
            "playback" => playback(&d).map(ClientFrame::Playback),
            "auth" => auth(&d).map(ClientFrame::Auth),
            "action.result" => action_result(&d).map(ClientFrame::ActionResult),
            "event" => event(&d, limits).map(ClientFrame::Event),
            "npc.act" => npc_act(&d, limits).map(ClientFrame::NpcAct),
            op => return Err(Box::new(unknown(op))),
        };
        frame.map_err(|invalid| {
            let mut error = Box::<ErrorPayload>::from(invalid);
            error.turn = turn(&d).ok();
            error.npc = npc(&d).ok();
            error
        })
    }
}

fn unknown(op: &str) -> ErrorPayload {
    let shown: String = op.chars().take(MAX_NAME_CHARS).collect();
    ErrorPayload::new(ErrorCode::UnknownOp, format!("no client frame has the op `{shown}`"))
}

type Parsed<T> = Result<T, Invalid>;

fn npc(d: &Fields<'_, '_>) -> Parsed<String> {
    let id = d.required("npc")?.id(MAX_ID_CHARS, "A-Z, a-z, 0-9, '_', '.', ':' and '-'", |byte| {
        byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)
    })?;
    Ok(id.to_owned())
}

fn turn(d: &Fields<'_, '_>) -> Parsed<String> {
    short_id(d, "turn")
}

fn short_id(d: &Fields<'_, '_>, key: &str) -> Parsed<String> {
    Ok(d.required(key)?.short(MAX_ID_CHARS)?.to_owned())
}

/// Ids of players or NPCs.
fn ids(field: &Field<'_, '_>) -> Parsed<Vec<String>> {
    field.items(MAX_AUDIENCE)?.map(|id| id.short(MAX_ID_CHARS).map(str::to_owned)).collect()
}

fn task(name: &str) -> Result<(), String> {
    if TASKS.contains(&name) { Ok(()) } else { Err(format!("is not a task; tasks are {}", TASKS.join(", "))) }
}

fn identify(d: &Fields<'_, '_>) -> Parsed<Identify> {
    let protocol = d.optional("protocol").map(|field| field.uint()).transpose()?;
    if protocol.is_some_and(|version| version != PROTOCOL) {
        // What another version puts beside it is not for us to judge: the version alone is the answer.
        let client = ClientInfo { name: String::new(), version: String::new() };
        return Ok(Identify { token: String::new(), client, protocol });
    }
    let client = d.required("client")?.fields()?;
    Ok(Identify {
        token: d.required("token")?.str()?.to_owned(),
        client: ClientInfo {
            name: client.required("name")?.short(MAX_NAME_CHARS)?.to_owned(),
            version: client.required("version")?.short(MAX_NAME_CHARS)?.to_owned(),
        },
        protocol,
    })
}

fn resume(d: &Fields<'_, '_>) -> Parsed<Resume> {
    Ok(Resume {
        session: d.required("session")?.str()?.to_owned(),
        resume_token: d.required("resume_token")?.str()?.to_owned(),
        epoch: d.required("epoch")?.str()?.to_owned(),
        seq: d.required("seq")?.uint()?,
    })
}

fn heartbeat(d: &Fields<'_, '_>) -> Parsed<Heartbeat> {
    Ok(Heartbeat { seq: d.required("seq")?.uint()? })
}

fn npc_join(d: &Fields<'_, '_>) -> Parsed<NpcJoin> {
    let archetype = d.optional("archetype").map(|field| {
        field.id(MAX_ARCHETYPE_CHARS, "a-z, 0-9, '_' and '-'", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
        })
    });
    let personality = d.optional("personality").map(|field| {
        field.weights(MAX_TRAITS, &TRAIT, |name| match name.chars().count() {
            1..=MAX_NAME_CHARS => Ok(()),
            _ => Err(format!("must have a name of 1 to {MAX_NAME_CHARS} characters")),
        })
    });
    Ok(NpcJoin {
        npc: npc(d)?,
        archetype: archetype.transpose()?.map(str::to_owned),
        name: d.optional("name").map(|field| field.plain(MAX_NAME_CHARS)).transpose()?.map(str::to_owned),
        seed: d.optional("seed").map(|field| field.uint()).transpose()?,
        personality: personality.transpose()?,
    })
}

fn say(d: &Fields<'_, '_>, limits: &Limits) -> Parsed<SayFrame> {
    let context = d.optional("context").map(|field| field.text(limits.context_chars));
    let mix = d.optional("mix").map(|field| field.weights(TASKS.len(), &MIX_WEIGHT, task));
    let audience = d.optional("audience").map(|field| ids(&field));
    Ok(SayFrame {
        npc: npc(d)?,
        turn: turn(d)?,
        text: d.required("text")?.text(limits.text_chars)?.to_owned(),
        actions: actions(d, limits)?,
        context: context.transpose()?.map(str::to_owned),
        generation: d.optional("generation").map(|field| generation(&field.fields()?)).transpose()?,
        mix: mix.transpose()?,
        audience: audience.transpose()?,
    })
}

fn actions(d: &Fields<'_, '_>, limits: &Limits) -> Parsed<Vec<Action>> {
    let Some(field) = d.optional("actions") else { return Ok(Vec::new()) };
    let mut actions = Vec::<Action>::new();
    for item in field.items(limits.actions)? {
        let action = item.fields()?;
        let name = action.required("name")?;
        let action = Action {
            name: name.plain(MAX_NAME_CHARS)?.to_owned(),
            description: action.required("description")?.at_most(MAX_DESCRIPTION_CHARS)?.to_owned(),
        };
        // The answer names an action, so two of one name could not be told apart.
        if actions.iter().any(|other| other.name == action.name) {
            return Err(name.invalid("is the name of two actions"));
        }
        actions.push(action);
    }
    Ok(actions)
}

fn generation(d: &Fields<'_, '_>) -> Parsed<GenerationOptions> {
    let number = |key, range| d.optional(key).map(|field| field.number(range)).transpose();
    let stop = d.optional("stop").map(|field| {
        field.items(MAX_STOPS)?.map(|text| text.short(MAX_STOP_CHARS).map(str::to_owned)).collect()
    });
    Ok(GenerationOptions {
        max_tokens: d.optional("max_tokens").map(|field| field.uint_in(1..=MAX_TOKENS)).transpose()?,
        temperature: number("temperature", &TEMPERATURE)?,
        top_p: number("top_p", &TOP_P)?,
        min_p: number("min_p", &MIN_P)?,
        seed: d.optional("seed").map(|field| field.uint()).transpose()?,
        greedy: d.optional("greedy").map(|field| field.bool()).transpose()?.unwrap_or_default(),
        stop: stop.transpose()?.unwrap_or_default(),
    })
}

fn cancel(d: &Fields<'_, '_>) -> Parsed<Cancel> {
    Ok(Cancel {
        turn: turn(d)?,
        heard_offset: d.optional("heard_offset").map(|field| field.uint()).transpose()?,
    })
}

fn playback(d: &Fields<'_, '_>) -> Parsed<Playback> {
    Ok(Playback { turn: turn(d)?, heard_offset: d.required("heard_offset")?.uint()? })
}

fn auth(d: &Fields<'_, '_>) -> Parsed<Auth> {
    Ok(Auth { token: d.required("token")?.str()?.to_owned() })
}

fn action_result(d: &Fields<'_, '_>) -> Parsed<ActionResult> {
    let reason = d.optional("reason").map(|field| field.at_most(MAX_DESCRIPTION_CHARS)).transpose()?;
    Ok(ActionResult {
        turn: turn(d)?,
        action: short_id(d, "action")?,
        ok: d.required("ok")?.bool()?,
        reason: reason.map(str::to_owned),
    })
}

fn event(d: &Fields<'_, '_>, limits: &Limits) -> Parsed<Event> {
    let kind = d.required("kind")?;
    Ok(Event {
        npc: npc(d)?,
        event: short_id(d, "event")?,
        kind: match kind.str()? {
            "injury" => EventKind::Injury,
            "gift" => EventKind::Gift,
            "threat" => EventKind::Threat,
            "witness" => EventKind::Witness,
            "custom" => EventKind::Custom,
            _ => return Err(kind.invalid("must be injury, gift, threat, witness or custom")),
        },
        text: d.required("text")?.text(limits.text_chars)?.to_owned(),
        importance: d.optional("importance").map(|field| field.number(&IMPORTANCE)).transpose()?,
        witnesses: d.optional("witnesses").map(|field| ids(&field)).transpose()?,
    })
}

fn npc_act(d: &Fields<'_, '_>, limits: &Limits) -> Parsed<NpcAct> {
    let field = d.required("tasks")?;
    let mut tasks = Vec::<String>::new();
    for item in field.items(TASKS.len())? {
        let name = item.str()?;
        task(name).map_err(|problem| item.invalid(problem))?;
        if tasks.iter().any(|other| other == name) {
            return Err(item.invalid("is named twice"));
        }
        tasks.push(name.to_owned());
    }
    if tasks.is_empty() {
        return Err(field.invalid("must name a task").with_limit(1_u64));
    }
    Ok(NpcAct {
        npc: npc(d)?,
        act: short_id(d, "act")?,
        tasks,
        context: d.required("context")?.text(limits.context_chars)?.to_owned(),
        actions: actions(d, limits)?,
    })
}
