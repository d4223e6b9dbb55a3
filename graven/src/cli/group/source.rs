//! Which events a group is about.

use crate::cli::failure::usage;
use crate::cli::select::Filter;
use graven_model::Result;
use serde_json::{Value, json};

/// What a group consumes.
#[derive(clap::Args)]
#[group(id = "source", required = true, multiple = true)]
pub(crate) struct Source {
    /// Everything, in the order of the log
    #[arg(long, group = "source", conflicts_with_all = ["stream", "category", "types", "tags"])]
    all: bool,
    /// One stream
    #[arg(long, group = "source", conflicts_with_all = ["category", "types", "tags"])]
    stream: Option<String>,
    /// All streams of a category (the text before the first '-')
    #[arg(long, group = "source", conflicts_with_all = ["types", "tags"])]
    category: Option<String>,
    /// Events of this type; again for more, any of them
    #[arg(long = "type", value_name = "TYPE", group = "source")]
    types: Vec<String>,
    /// Events with this tag; again for more, all of them
    #[arg(long = "tag", value_name = "TAG", group = "source")]
    tags: Vec<String>,
}

impl Source {
    /// The selector as the server takes it.
    ///
    /// # Errors
    /// Wrong usage: an empty name.
    pub(crate) fn selector(&self) -> Result<Value> {
        let names = [&self.stream, &self.category].into_iter().flatten();
        if names.chain(&self.types).chain(&self.tags).any(String::is_empty) {
            return Err(usage("the name of what to consume is empty"));
        }
        Ok(match (&self.stream, &self.category, &*self.types, &*self.tags) {
            (Some(stream), ..) => json!({"stream": stream}),
            (None, Some(category), ..) => json!({"category": category}),
            (None, None, [], []) => json!({"all": self.all}),
            (None, None, types, []) => json!({"types": types}),
            (None, None, [], tags) => json!({"tags": tags}),
            (None, None, types, tags) => json!({"query": {"items": [{"types": types, "tags": tags}]}}),
        })
    }
}

/// The filter as the server takes it; `None` if there is none.
pub(crate) fn filter(filter: &Filter) -> Option<Value> {
    let fields = filter.fields();
    (!fields.is_empty()).then_some(Value::Object(fields))
}
