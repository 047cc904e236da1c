// What `/api/v1` answers, as far as this page shows it. Keys that a newer server adds are passed over.

import type { AdapterUse, TimingInfo, UsageInfo } from "npc-gateway-client";

export type Row = {
  kind: "generate" | "choose" | "warm";
  phase: "prefill" | "decode";
  background: boolean;
  tokens: number;
} | null;

export interface Stats {
  server: { version: string; engine: string; started_ms: number; uptime_ms: number; draining: boolean };
  sessions: { sessions: number; lost: number; sockets: number; limit: number };
  turns: {
    running: number;
    started: number;
    done: { [reason: string]: number };
    generated_tokens: number;
  };
  engine: {
    decoder: string;
    rows: Row[];
    waiting: number;
    queue_limit: number;
    steps: number;
    step_ms: number | null;
    tokens_per_s: number | null;
    overloaded: boolean;
    kv: { used_bytes: number; limit_bytes: number; conversations: number } | null;
    adapters: { registered: number; resident: number; used_bytes: number; limit_bytes: number } | null;
  };
  history: {
    journal: { writable: boolean; waiting: number };
    warm: { state: string };
    archive: { state: string; waiting?: number; lag_ms?: number };
  };
}

export interface SessionItem {
  session: string;
  player: string;
  state: string;
  since_ms: number;
  scopes: string[];
  subprotocol: string;
  npcs: string[];
  turns: number;
  held_frames: number;
  held_bytes: number;
}

export interface ChainTask {
  adapter: string;
  version?: string;
  canary?: { version: string; share: number };
}

export interface ChainItem {
  name: string;
  title: string;
  generic: boolean;
  tasks: { [task: string]: ChainTask };
  server: string;
  memory_bytes: number;
  since_ms: number;
  hosts?: { server: string }[];
}

export interface Archetypes {
  items: ChainItem[];
  /** Chains that only other servers host. */
  elsewhere?: { [name: string]: { server: string }[] };
  /** Packs that cannot be used. */
  refused?: unknown;
}

export interface Adapter {
  id: string;
  archetype: string;
  task: string;
  version: string;
  state: "promoted" | "canary" | "available" | "refused";
  share?: number;
  pinned?: boolean;
  bytes: number;
  memory_bytes?: number;
  rank: number;
  metrics?: {
    base_loss?: number | null;
    loss?: number | null;
    accuracy?: number | null;
    base_accuracy?: number | null;
  } | null;
  error?: string;
}

export interface ProvisioningTask {
  step?: number;
  steps?: number;
  loss?: number;
  held_out?: number;
  eta_s?: number;
  version?: string;
  rejected?: string;
}

export interface ProvisioningItem {
  archetype: string;
  state: string;
  cause: string;
  reason?: string;
  requested_ms: number;
  changed_ms: number;
  trained_ms: number;
  tasks: { [task: string]: ProvisioningTask };
}

/** What happened with an NPC: a line, an event, or what became of an action. */
export interface HistoryItem {
  id: string;
  kind: string;
  npc: string;
  player: string;
  archetype: string;
  audience: string[];
  witnesses: string[];
  recalled: string[];
  importance?: number;
  at_ms: number;
  turn?: string;
  text?: string;
  context?: string;
  said?: string;
  heard?: string;
  reason?: string;
  fallback?: boolean;
  adapters?: AdapterUse[];
  usage?: UsageInfo;
  timing?: TimingInfo;
  event?: string;
  event_kind?: string;
  action?: string;
  ok?: boolean;
  /** From which tier it came, if the server says so. */
  tier?: string;
}

export interface HistoryPage {
  items: HistoryItem[];
  next?: string;
}
