//! What every adapter of a port must do: the definition of the port. One list of sentences,
//! run on memory, SQLite and PostgreSQL.

mod given;
mod stores;

/// Makes a test of each sentence on each store. A sentence is an async function that takes a
/// fresh, empty [`stores::Stores`].
macro_rules! contract {
    ($port:ident: $($sentence:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(&super::Stores::memory()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(&super::Stores::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(&super::Stores::postgres().await).await;
            })+
        }
    };
}

mod accounts;
mod api_keys;
mod audit;
mod bulks;
mod definitions;
mod deletions;
mod event_stream;
mod hints;
mod history;
mod leases;
mod permits;
mod pull_queue;
mod runs;
mod schedules;
mod secrets;
mod store;
mod traces;
mod usages;
mod vault;
