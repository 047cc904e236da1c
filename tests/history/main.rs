//! What was said is kept: gateways as processes of their own, killed, filled, started again.

mod gateway;
mod kill;
mod restart;
mod trouble;
