//! The load tool as a program: what it reports, and what it exits with.

mod broken;
mod scenarios;
mod support;
