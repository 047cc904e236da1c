//! Who was not let in.

use std::fmt;

use super::by::By;
use super::labels::label;
use super::page::Page;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    TooLong,
    NoJwt,
    Critical,
    UnknownKey,
    WrongAlgorithm,
    WrongSignature,
    Expired,
    TooEarly,
    Issuer,
    Audience,
    MissingClaim,
    Claims,
    Name,
    /// It is good and does not allow what was asked for.
    Scope,
}

label!(TokenFault, "cause" {
    TooLong = "too_long",
    NoJwt = "no_jwt",
    Critical = "critical",
    UnknownKey = "unknown_key",
    WrongAlgorithm = "wrong_algorithm",
    WrongSignature = "wrong_signature",
    Expired = "expired",
    TooEarly = "too_early",
    Issuer = "issuer",
    Audience = "audience",
    MissingClaim = "missing_claim",
    Claims = "claims",
    Name = "name",
    Scope = "scope",
});

/// Who was not let in.
#[derive(Debug, Default)]
pub struct AuthMetrics {
    pub failures: By<TokenFault>,
}

impl AuthMetrics {
    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by("auth_failures", "Tokens that were refused", &self.failures)
    }
}
