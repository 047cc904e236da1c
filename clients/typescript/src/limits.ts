// Bounds of what the client keeps in memory, and of what it takes from a server. A game that needs more does something
// else wrong; a server that sends more is broken.

/** The largest message taken, in bytes (in JSON, UTF-16 units). */
export const MAX_MESSAGE = 1 << 20;
/** Bytes that wait in the socket for the network; with more, the network is as good as lost. */
export const MAX_UNSENT = 4 << 20;
/** Events of one turn, and the size of their messages together. */
export const MAX_TURN_EVENTS = 16_384;
export const MAX_TURN_SIZE = 4 << 20;
/** Turns that may run at the same time. */
export const MAX_RUNNING = 256;
/** Turns that are remembered, with those that have ended. */
export const MAX_REMEMBERED = 1024;
/** An ended turn may be cancelled or played for so long. */
export const REMEMBERED_MS = 120_000;
/** Requests that may be unanswered at the same time. */
export const MAX_UNANSWERED = 1024;
/** The shortest interval of heartbeats that a server may ask for. */
export const LEAST_HEARTBEAT_MS = 50;
/** The longest wait that a timer takes; a longer one would end at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
