//! Stage 3: segments become ordered bytes per direction.

mod chunks;
mod holes;
pub mod key;
pub mod seq;
pub mod stream;
pub mod table;

pub use chunks::Chunks;
pub use key::{Direction, FlowKey};
pub use seq::Seq;
pub use stream::{Answer, Lent, Stream, StreamLimits};
pub use table::{EntryId, Table};
