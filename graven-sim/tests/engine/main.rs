//! The engine on a simulated machine. Each file is named by the situation it puts the engine in.
//!
//! `GRAVEN_SIM_SEEDS=n` runs n seeds where the default is fewer, `GRAVEN_SIM_SEED=n` runs that one alone.

mod support;

mod checkpoints_lose_power_at_any_call;
mod checkpoints_on_several_nodes;
mod clock_jumps_back;
mod copy_loses_power_at_any_call;
mod crash_at_any_call;
mod disk_full_refuses_and_resumes;
mod erasure_loses_power_at_any_call;
mod failed_sync_poisons;
mod flipped_bit_at_every_byte;
mod followers_beside_concurrent_appends;
mod groups_lose_power_at_any_call;
mod groups_on_a_full_disk;
mod index_lost_or_damaged;
mod journals_obey_the_laws;
mod keys_of_data_subjects_lose_power_at_any_call;
mod misdirected_write_is_noticed;
mod nodes_erase_what_their_writer_erased;
mod nodes_share_a_journal;
mod nodes_share_keys_of_data_subjects;
mod random_operations_agree_with_the_model;
mod read_error_is_an_error;
mod retry_after_the_condition_changed;
mod same_seed_same_trace;
mod seals_lose_power_at_any_call;
mod seals_on_several_nodes;
mod torn_tail_at_every_byte;
mod zombie_store_after_a_crash;
