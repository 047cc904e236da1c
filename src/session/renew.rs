//! C `auth`: a new token for a session that goes on.

use super::auth::Authenticator;
use super::state::Session;
use crate::wire::{Auth, Authed, CloseCode, ErrorCode, ErrorPayload};

/// Puts a new token in the place of the session's. What it grants counts from now on, also if it is less.
///
/// # Errors
/// Outside: the code to close the socket with, as for `identify`. Inside: `forbidden` if the token is another
/// player's; the session then goes on with the token that it has.
pub fn renew(
    authenticator: &Authenticator,
    session: &Session,
    auth: &Auth,
) -> Result<Result<Authed, Box<ErrorPayload>>, CloseCode> {
    let grant = authenticator.admit(&auth.token)?;
    if grant.player.name != session.player.name {
        let message = "the token is another player's; open another session for them";
        return Ok(Err(Box::new(ErrorPayload {
            field: Some("token".into()),
            ..ErrorPayload::new(ErrorCode::Forbidden, message)
        })));
    }
    session.pass.renew(&grant);
    Ok(Ok(Authed { expires_ms: grant.expiry.map(|expiry| expiry.left_ms) }))
}
