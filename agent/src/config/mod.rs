pub mod record;
pub mod trial;
