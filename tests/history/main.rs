//! What was said is kept: gateways as processes of their own, killed, filled, started again.

mod archive;
mod erase;
mod gateway;
mod kill;
mod memory;
mod minds;
mod restart;
mod trouble;
mod world;
