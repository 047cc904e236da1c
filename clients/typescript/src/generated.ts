// Made by `npm run generate` from the project's schemas/; do not edit.

/**
 * What kind of thing happened.
 */
export type EventKind = "injury" | "gift" | "threat" | "witness" | "custom";
/**
 * What an NPC may feel.
 */
export type EmotionLabel =
  "neutral" | "joy" | "sadness" | "anger" | "fear" | "disgust" | "surprise" | "contempt";
/**
 * The `code` of an `error` frame.
 */
export type ErrorCode =
  | "unknown_op"
  | "bad_payload"
  | "unknown_npc"
  | "unknown_archetype"
  | "unknown_turn"
  | "duplicate_turn"
  | "text_too_long"
  | "too_many_npcs"
  | "rate_limited"
  | "overloaded"
  | "engine_failed"
  | "storage_failed"
  | "forbidden"
  | "not_available";
/**
 * A bound: a whole number where a count is limited, a float where a weight is.
 */
export type Limit = number;
/**
 * What makes the text.
 */
export type EngineKind = "model" | "scripted";
/**
 * Why a session could not be resumed.
 */
export type ResumeFailReason =
  "unknown_session" | "bad_token" | "epoch_changed" | "expired" | "gap" | "bad_subprotocol";
/**
 * Why a turn ended.
 */
export type DoneReason = ("cancelled" | "blocked" | "error") | "stop" | "length";
/**
 * Why a turn is answered with the adapters that it is answered with.
 */
export type RouteReason =
  "promoted" | "canary" | "no_chain" | "no_adapter" | "weights" | "fallback" | "blocked";

/**
 * C `action.result`: whether the game did what the NPC proposed.
 */
export interface ActionResult {
  /**
   * The id of the `action.proposed`.
   */
  action: string;
  ok: boolean;
  /**
   * Why not, at most 256 characters.
   */
  reason?: string;
  turn: string;
}
/**
 * C `auth`: renews a token that is about to expire.
 */
export interface Auth {
  token: string;
}
/**
 * C `cancel`.
 */
export interface Cancel {
  /**
   * How much the player heard, in Unicode scalar values.
   */
  heard_offset?: number;
  turn: string;
}
/**
 * C `event`: something that an NPC lives through.
 */
export interface NpcEvent {
  /**
   * The client's id of the event, 1–64 characters.
   */
  event: string;
  /**
   * 0..1.
   */
  importance?: number;
  kind: EventKind;
  npc: string;
  /**
   * What happened, at most `max_text_chars` of `ready`'s `limits` (2000 unless the server is set otherwise).
   */
  text: string;
  /**
   * Who else was there: at most 64 ids, each 1–64 characters.
   */
  witnesses?: string[];
}
/**
 * C `heartbeat`; `seq` is the last `s` received (0: none yet).
 */
export interface Heartbeat {
  seq: number;
}
/**
 * C `identify`: who is there.
 */
export interface Identify {
  client: ClientInfo;
  /**
   * The version that the client speaks, if it says so.
   */
  protocol?: 1;
  token: string;
}
/**
 * Name and version of the client program, each 1–64 characters.
 */
export interface ClientInfo {
  name: string;
  version: string;
}
/**
 * C `npc.act`: asks what an NPC does on its own.
 */
export interface NpcAct {
  /**
   * The client's id of the act, 1–64 characters.
   */
  act: string;
  /**
   * What the NPC may do: at most `max_actions` of `ready`'s `limits` (32 unless set otherwise), no two of one name.
   */
  actions?: Action[];
  /**
   * What is around, at most `max_context_chars` of `ready`'s `limits` (2000 unless set otherwise).
   */
  context: string;
  npc: string;
  /**
   * Names of tasks, each once.
   */
  tasks: (
    | "personality"
    | "dialogue_style"
    | "action_policy"
    | "emotional_response"
    | "world_knowledge"
    | "social_dynamics"
    | "goal_prioritization"
  )[];
}
/**
 * One thing that the NPC may do.
 */
export interface Action {
  /**
   * At most 256 characters.
   */
  description: string;
  /**
   * 1–64 characters.
   */
  name: string;
}
/**
 * C `npc.focus`: the player approaches an NPC.
 */
export interface NpcFocus {
  npc: string;
}
/**
 * C `npc.join`: the player meets an NPC, which is made if it is new.
 */
export interface NpcJoin {
  /**
   * 1–32 of `a-z0-9_-`; needed when the NPC is new.
   */
  archetype?: string;
  /**
   * 1–64 characters, none of them a control character.
   */
  name?: string;
  /**
   * 1–64 of `A-Za-z0-9_.:-`.
   */
  npc: string;
  /**
   * Trait → −1..1.
   */
  personality?: {
    [k: string]: number;
  };
  seed?: number | bigint;
}
/**
 * C `npc.leave`.
 */
export interface NpcLeave {
  npc: string;
}
/**
 * C `playback`: what the player heard so far. Not answered.
 */
export interface Playback {
  heard_offset: number;
  turn: string;
}
/**
 * C `resume`: takes up a session whose socket is gone.
 */
export interface Resume {
  epoch: string;
  resume_token: string;
  /**
   * The last `s` received.
   */
  seq: number;
  session: string;
}
/**
 * C `say`: one line of the player.
 */
export interface Say {
  /**
   * What the NPC may do: at most `max_actions` of `ready`'s `limits` (32 unless set otherwise), no two of one name.
   */
  actions?: Action[];
  /**
   * Players who hear the turn; absent: the speaker alone.
   */
  audience?: string[];
  /**
   * What is around, at most `max_context_chars` of `ready`'s `limits` (2000 unless set otherwise); past it the answer is `text_too_long`.
   */
  context?: string;
  generation?: Generation;
  /**
   * Task → weight −2..2, over the defaults of the pack.
   */
  mix?: {
    [k: string]: number;
  };
  npc: string;
  /**
   * At most `max_text_chars` of `ready`'s `limits` (2000 unless the server is set otherwise); past it the answer is `text_too_long`.
   */
  text: string;
  /**
   * The client's id of the turn, 1–64 characters.
   */
  turn: string;
}
/**
 * How one line is generated; what is absent comes from the settings.
 */
export interface Generation {
  /**
   * Always the likeliest token.
   */
  greedy?: boolean;
  /**
   * 1–4096.
   */
  max_tokens?: number;
  /**
   * At least 0, below 1.
   */
  min_p?: number;
  /**
   * Same seed, same line.
   */
  seed?: number | bigint;
  /**
   * The line ends before the first of these; at most 8, each 1–64 characters.
   */
  stop?: string[];
  /**
   * 0..2; 0 is greedy.
   */
  temperature?: number;
  /**
   * Above 0, at most 1.
   */
  top_p?: number;
}
/**
 * S `action.proposed`: what the NPC decides to do, one of the actions that the client offered.
 */
export interface ActionProposed {
  /**
   * The server's id of this proposal.
   */
  action: string;
  /**
   * One of the names offered.
   */
  name: string;
  /**
   * 0..1.
   */
  p: number;
  player: string;
  t_ms: number;
  text_offset: number;
  turn: string;
}
/**
 * S `authed`.
 */
export interface Authed {
  /**
   * How long the new token is good for; absent: for ever.
   */
  expires_ms?: number;
}
/**
 * S `dialogue.delta`: more of the NPC's line.
 */
export interface DialogueDelta {
  /**
   * Where this text starts, in Unicode scalar values from the start of the line.
   */
  offset: number;
  player: string;
  /**
   * When to present it, from `turn.started`.
   */
  t_ms: number;
  text: string;
  tokens: number;
  turn: string;
}
/**
 * S `emotion`: what the NPC feels from here on.
 */
export interface Emotion {
  /**
   * 0..1.
   */
  intensity: number;
  label: EmotionLabel;
  player: string;
  /**
   * Label → probability.
   */
  probs: {
    [k: string]: number;
  };
  t_ms: number;
  text_offset: number;
  turn: string;
}
/**
 * S `error`: what a client frame or a turn ran into. The socket stays open.
 */
export interface ErrorPayload {
  code: ErrorCode;
  /**
   * Path of the offending key inside `d`: `generation.temperature`, `actions[3].name`. `cid` and `d` name the frame's own keys.
   */
  field?: string;
  limit?: Limit;
  /**
   * For a person; names the field and the limit in words.
   */
  message: string;
  npc?: string;
  retry_after_ms?: number;
  /**
   * Whether the same frame may succeed later.
   */
  temporary: boolean;
  turn?: string;
}
/**
 * S `event.recorded`: it is stored.
 */
export interface EventRecorded {
  /**
   * The client's id of the event; absent when it answers an `action.result`.
   */
  event?: string;
  /**
   * Id of the stored record.
   */
  interaction: string;
}
/**
 * S `face.key`: a key frame of the face.
 */
export interface FaceKey {
  /**
   * FACS action unit (`AU12`; one side: `AU14L`) → 0..1. Those that are absent are 0.
   */
  au: {
    [k: string]: number;
  };
  /**
   * How long the face takes to get there.
   */
  ease_ms: number;
  player: string;
  t_ms: number;
  text_offset: number;
  turn: string;
  /**
   * One weight (0: none, 255: full) for each of the `shapes` of `npc.joined`, in their order.
   */
  w: Uint8Array;
}
/**
 * S `goal`: what the NPC wants now, the likeliest first.
 */
export interface Goal {
  player: string;
  ranked: RankedGoal[];
  t_ms: number;
  text_offset: number;
  turn: string;
}
/**
 * One goal and how likely the NPC pursues it.
 */
export interface RankedGoal {
  id: string;
  /**
   * 0..1.
   */
  p: number;
  text: string;
}
/**
 * S `heartbeat_ack`, with the `seq` of the heartbeat.
 */
export interface HeartbeatAck {
  seq: number;
}
/**
 * S `hello`: the first frame of every socket.
 */
export interface Hello {
  engine: EngineKind;
  heartbeat_ms: number;
  identify_timeout_ms: number;
  max_frame_bytes: number;
  /**
   * Version of the protocol: 1.
   */
  protocol: 1;
  /**
   * Name and version of the server: `npc-gateway/0.1.0`.
   */
  server: string;
}
/**
 * S `npc.acted`.
 */
export interface NpcActed {
  act: string;
  npc: string;
  /**
   * Task → what was chosen.
   */
  results: {
    [k: string]: Choice;
  };
}
/**
 * The answer of one task.
 */
export interface Choice {
  /**
   * The likeliest of `probs`.
   */
  choice: string;
  /**
   * Option → probability.
   */
  probs: {
    [k: string]: number;
  };
}
/**
 * S `npc.joined`.
 */
export interface NpcJoined {
  chain: ChainInfo;
  face?: FaceInfo;
  npc: NpcInfo;
  relationship?: Relationship;
}
/**
 * What an NPC's answers are made with.
 */
export interface ChainInfo {
  archetype: string;
  /**
   * No adapter of the archetype is in use: the base model speaks.
   */
  generic: boolean;
  services?: ChainServices;
  /**
   * Task → its adapter; tasks without one are absent.
   */
  tasks: {
    [k: string]: ChainTask;
  };
}
/**
 * What runs elsewhere for this NPC.
 */
export interface ChainServices {
  body?: ServiceInfo;
  facial?: ServiceInfo;
  voice?: ServiceInfo;
}
/**
 * A service that the client may call.
 */
export interface ServiceInfo {
  /**
   * What to call it with; what the keys are is the service's to say.
   */
  parameters: {
    [k: string]: unknown;
  };
  url: string;
}
/**
 * The adapter of one task.
 */
export interface ChainTask {
  adapter: string;
  version: string;
}
/**
 * How the bytes `w` of a `face.key` are meant.
 */
export interface FaceInfo {
  /**
   * `arkit52`.
   */
  rig: "arkit52";
  /**
   * Names of the blendshapes, 52 of them.
   */
  shapes: string[];
}
/**
 * Who an NPC is.
 */
export interface NpcInfo {
  archetype: string;
  /**
   * What the NPC looks like; what the keys are is the pack's to say.
   */
  body?: {
    [k: string]: unknown;
  };
  goals?: GoalInfo[];
  id: string;
  name: string;
  /**
   * Trait → −1..1, 50 of them.
   */
  personality?: {
    [k: string]: number;
  };
  seed: number | bigint;
}
/**
 * Something that an NPC wants.
 */
export interface GoalInfo {
  id: string;
  /**
   * 0..1.
   */
  priority: number;
  text: string;
}
/**
 * What an NPC thinks of a player; each −1..1.
 */
export interface Relationship {
  affection: number;
  familiarity: number;
  fear: number;
  respect: number;
  trust: number;
}
/**
 * S `npc.left`.
 */
export interface NpcLeft {
  npc: string;
}
/**
 * S `npc.warm`: what the next line's prompt begins with is computed.
 */
export interface NpcWarm {
  /**
   * Milliseconds that it took.
   */
  ms: number;
  npc: string;
  /**
   * Tokens that the next line need not compute.
   */
  tokens: number;
}
/**
 * S `ready`: the session exists. Its `s` is 1.
 */
export interface Ready {
  /**
   * Changes at every start of the server.
   */
  epoch: string;
  limits: {
    [k: string]: number;
  };
  player: string;
  resume_token: string;
  /**
   * How long a session waits for a lost client; 0: it does not.
   */
  resume_window_ms: number;
  scopes: string[];
  session: string;
}
/**
 * S `resume_failed`: nothing was replayed; the client may `identify`.
 */
export interface ResumeFailed {
  reason: ResumeFailReason;
  /**
   * Always false.
   */
  recovered: false;
}
/**
 * S `resumed`: everything that the client had missed was sent before it.
 */
export interface Resumed {
  /**
   * How many frames were sent again.
   */
  replayed: number;
  /**
   * Takes the place of the one that was used.
   */
  resume_token: string;
  /**
   * The last `s` sent.
   */
  seq: number;
}
/**
 * S `social`: how the NPC's relationship with the player shifts.
 */
export interface Social {
  /**
   * Axis → change, −2..2; axes that stay are absent.
   */
  delta: {
    [k: string]: number;
  };
  player: string;
  relationship: Relationship;
  t_ms: number;
  text_offset: number;
  turn: string;
}
/**
 * S `turn.cancelled`.
 */
export interface TurnCancelled {
  player: string;
  /**
   * Ids of actions that are taken back.
   */
  retracted: string[];
  turn: string;
  valid_through: ValidThrough;
}
/**
 * A point of a turn, in its text and in its time.
 */
export interface ValidThrough {
  t_ms: number;
  text_offset: number;
}
/**
 * S `turn.done`: the last frame of a turn.
 */
export interface TurnDone {
  /**
   * A scripted line of the pack stands in for the model's.
   */
  fallback: boolean;
  /**
   * Id of the stored record, once it is durable.
   */
  interaction?: string;
  npc: string;
  player: string;
  reason: DoneReason;
  /**
   * The whole line.
   */
  text: string;
  timing: TimingInfo;
  turn: string;
  usage: UsageInfo;
}
/**
 * Times of a turn in milliseconds.
 */
export interface TimingInfo {
  /**
   * Waiting for a row.
   */
  queue_ms: number;
  /**
   * From the arrival of the line to its end.
   */
  total_ms: number;
  /**
   * From the arrival of the line to the first token.
   */
  ttft_ms: number;
}
/**
 * Tokens of a turn.
 */
export interface UsageInfo {
  /**
   * Prompt tokens that did not have to be computed again.
   */
  cached_tokens: number;
  generated_tokens: number;
  prompt_tokens: number;
}
/**
 * S `turn.started`.
 */
export interface TurnStarted {
  adapters: AdapterUse[];
  cached_tokens: number;
  /**
   * No adapter of the archetype takes part.
   */
  generic: boolean;
  npc: string;
  /**
   * Who spoke.
   */
  player: string;
  prompt_tokens: number;
  reason?: RouteReason;
  /**
   * What the player said.
   */
  text: string;
  turn: string;
}
/**
 * One adapter of a turn's mix.
 */
export interface AdapterUse {
  id: string;
  task:
    | "personality"
    | "dialogue_style"
    | "action_policy"
    | "emotional_response"
    | "world_knowledge"
    | "social_dynamics"
    | "goal_prioritization";
  version: string;
  weight: number;
}

/** Payloads of the frames that the server sends, by `op`. */
export interface ServerPayloads {
  "action.proposed": ActionProposed;
  "authed": Authed;
  "dialogue.delta": DialogueDelta;
  "emotion": Emotion;
  "error": ErrorPayload;
  "event.recorded": EventRecorded;
  "face.key": FaceKey;
  "goal": Goal;
  "heartbeat_ack": HeartbeatAck;
  "hello": Hello;
  "npc.acted": NpcActed;
  "npc.joined": NpcJoined;
  "npc.left": NpcLeft;
  "npc.warm": NpcWarm;
  "ready": Ready;
  "resume_failed": ResumeFailed;
  "resumed": Resumed;
  "social": Social;
  "turn.cancelled": TurnCancelled;
  "turn.done": TurnDone;
  "turn.started": TurnStarted;
}

/** Payloads of the frames that the client sends, by `op`. */
export interface ClientPayloads {
  "action.result": ActionResult;
  "auth": Auth;
  "cancel": Cancel;
  "event": NpcEvent;
  "heartbeat": Heartbeat;
  "identify": Identify;
  "npc.act": NpcAct;
  "npc.focus": NpcFocus;
  "npc.join": NpcJoin;
  "npc.leave": NpcLeave;
  "playback": Playback;
  "resume": Resume;
  "say": Say;
}

/** Kinds of the values in the payloads of the server. */
export const SHAPES: { readonly [op: string]: { readonly [key: string]: string } } = {
  "action.proposed": {
    "action": "str",
    "name": "str",
    "p": "num",
    "player": "str",
    "t_ms": "uint",
    "text_offset": "uint",
    "turn": "str"
  },
  "authed": {
    "expires_ms": "uint?"
  },
  "dialogue.delta": {
    "offset": "uint",
    "player": "str",
    "t_ms": "uint",
    "text": "str",
    "tokens": "uint",
    "turn": "str"
  },
  "emotion": {
    "intensity": "num",
    "label": "str",
    "player": "str",
    "probs": "map",
    "t_ms": "uint",
    "text_offset": "uint",
    "turn": "str"
  },
  "error": {
    "code": "str",
    "field": "str?",
    "limit": "num?",
    "message": "str",
    "npc": "str?",
    "retry_after_ms": "uint?",
    "temporary": "bool",
    "turn": "str?"
  },
  "event.recorded": {
    "event": "str?",
    "interaction": "str"
  },
  "face.key": {
    "au": "map",
    "ease_ms": "uint",
    "player": "str",
    "t_ms": "uint",
    "text_offset": "uint",
    "turn": "str",
    "w": "bin"
  },
  "goal": {
    "player": "str",
    "ranked": "list",
    "t_ms": "uint",
    "text_offset": "uint",
    "turn": "str"
  },
  "heartbeat_ack": {
    "seq": "uint"
  },
  "hello": {
    "engine": "str",
    "heartbeat_ms": "uint",
    "identify_timeout_ms": "uint",
    "max_frame_bytes": "uint",
    "protocol": "any",
    "server": "str"
  },
  "npc.acted": {
    "act": "str",
    "npc": "str",
    "results": "map"
  },
  "npc.joined": {
    "chain": "map",
    "face": "map?",
    "npc": "map",
    "relationship": "map?"
  },
  "npc.left": {
    "npc": "str"
  },
  "npc.warm": {
    "ms": "uint",
    "npc": "str",
    "tokens": "uint"
  },
  "ready": {
    "epoch": "str",
    "limits": "map",
    "player": "str",
    "resume_token": "str",
    "resume_window_ms": "uint",
    "scopes": "list",
    "session": "str"
  },
  "resume_failed": {
    "reason": "str",
    "recovered": "any"
  },
  "resumed": {
    "replayed": "uint",
    "resume_token": "str",
    "seq": "uint"
  },
  "social": {
    "delta": "map",
    "player": "str",
    "relationship": "map",
    "t_ms": "uint",
    "text_offset": "uint",
    "turn": "str"
  },
  "turn.cancelled": {
    "player": "str",
    "retracted": "list",
    "turn": "str",
    "valid_through": "map"
  },
  "turn.done": {
    "fallback": "bool",
    "interaction": "str?",
    "npc": "str",
    "player": "str",
    "reason": "str",
    "text": "str",
    "timing": "map",
    "turn": "str",
    "usage": "map"
  },
  "turn.started": {
    "adapters": "list",
    "cached_tokens": "uint",
    "generic": "bool",
    "npc": "str",
    "player": "str",
    "prompt_tokens": "uint",
    "reason": "str?",
    "text": "str",
    "turn": "str"
  }
};
