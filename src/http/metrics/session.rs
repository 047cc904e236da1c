//! Sessions and their queues.

use std::fmt;

use crate::metrics::Page;
use crate::session::Gateway;

pub(super) fn write(gateway: &Gateway, page: &mut Page<'_>) -> fmt::Result {
    let settings = &gateway.config().session;
    let (sessions, lost) = (gateway.session_count(), gateway.lost_count());
    let states = [("connected", sessions.saturating_sub(lost)), ("lost", lost)];
    let states = states.map(|(state, count)| (vec![("state", state)], count as f64));
    page.gauges("sessions", "Sessions", states)?;
    page.gauge("sessions_limit", "How many there may be", settings.max_sessions)?;
    page.gauge("sockets", "Open sockets", gateway.socket_count())?;
    gateway.metrics().write(page)?;
    gateway.auth().metrics().write(page)?;
    let (mut frames, mut bytes, mut largest) = (0, 0, 0);
    for (queued, size) in gateway.send_queues() {
        frames += queued;
        bytes += size;
        largest = size.max(largest);
    }
    page.gauge("send_queue_bytes", "Bytes that wait to be sent", bytes)?;
    page.gauge("send_queue_frames", "Frames that wait to be sent", frames)?;
    page.gauge("send_queue_largest_bytes", "Bytes of the fullest of these queues", largest)?;
    page.gauge("send_queue_limit_bytes", "How many one may hold", settings.send_queue_bytes)?;
    page.gauge("replay_bytes", "Memory of frames held for clients to resume", gateway.replay_bytes())?;
    page.gauge("replay_limit_bytes", "How much that may be", settings.replay_total_mb << 20)
}
