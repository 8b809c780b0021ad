//! Code injected into deputies and bodies, and the shared call area.
