//! The egress proxy, with real sockets and a double for the outside: names and addresses lead to servers on loopback.
//! What may be connected to is judged by the shipped code; the double only carries out what was judged.

mod binary;
mod control;
mod curl;
mod garbage;
mod outside;
mod plain;
mod slow;
mod stage;
mod tunnel;
