//! The platform as one of two participants of TCC transactions that the coordinator dtm drives: all
//! branches are confirmed or all are cancelled, whoever refuses, dies or comes too late (R58).

mod crashes;
mod ends;
mod forgotten;
mod stage;
