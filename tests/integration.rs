//! pixcell from outside: the real binary, real folders, and the stand-in for the API over real HTTP.
//! One binary, so that it links once; each test has a rig of its own, so that they run beside each
//! other.

// A test that cannot go on has failed, and unwrapping says so; helpers are tests, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod integration {
    //! One module a promise.

    mod budget;
    mod cli;
    mod codes;
    mod commands;
    mod corpus;
    mod crash;
    mod examples;
    mod faults;
    mod folders;
    mod init;
    mod layers;
    mod logs;
    mod malformed;
    mod memory;
    mod names;
    mod newest;
    mod outage;
    mod pace;
    mod plan;
    mod power;
    mod refused;
    mod reload;
    mod repeats;
    mod restart;
    mod rows;
    mod secrets;
    mod shutdown;
    mod soak;
    mod state;
    mod sync;
    mod targets;
    mod tls;
    mod trees;
    mod turns;
    mod unreached;
    mod untold;
    mod upload;
    mod user_token;
    mod watchdog;
    mod web;
    mod writers;
}
