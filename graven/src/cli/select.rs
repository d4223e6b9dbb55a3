//! Which events a command is about: one stream, all, a category, types or tags, narrowed by filters.

use super::client::encode;
use super::failure::usage;
use graven_model::Result;
use serde_json::{Map, Value, json};

/// Arguments that `read` and `tail` share.
#[derive(clap::Args)]
#[group(id = "selector", required = true, multiple = true)]
pub(crate) struct Select {
    /// The stream to read
    #[arg(group = "selector", conflicts_with_all = ["all", "category", "types", "tags"])]
    stream: Option<String>,
    /// Everything, in the order of the log
    #[arg(long, group = "selector", conflicts_with_all = ["category", "types", "tags"])]
    all: bool,
    /// All streams of a category (the text before the first '-')
    #[arg(long, group = "selector", conflicts_with_all = ["types", "tags"])]
    category: Option<String>,
    /// Events of this type; again for more, any of them
    #[arg(long = "type", value_name = "TYPE", group = "selector")]
    types: Vec<String>,
    /// Events with this tag; again for more, all of them
    #[arg(long = "tag", value_name = "TAG", group = "selector")]
    tags: Vec<String>,
}

/// Filters that narrow what was selected.
#[derive(clap::Args)]
pub(crate) struct Filter {
    /// Only streams that start with one of these, separated by commas
    #[arg(long, value_name = "PREFIXES", conflicts_with = "stream_regex")]
    stream_prefix: Option<String>,
    /// Only streams that match a regular expression
    #[arg(long, value_name = "REGEX")]
    stream_regex: Option<String>,
    /// Only types that start with one of these, separated by commas
    #[arg(long, value_name = "PREFIXES", conflicts_with = "type_regex")]
    type_prefix: Option<String>,
    /// Only types that match a regular expression
    #[arg(long, value_name = "REGEX")]
    type_regex: Option<String>,
    /// Leave out streams and types that start with '$'
    #[arg(long)]
    exclude_system: bool,
}

/// A read as HTTP says it: path, parameters, and for a DCB query the body they become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    /// Where to begin; a cursor takes its place.
    pub(crate) from: Option<String>,
    path: String,
    parameters: Vec<(&'static str, String)>,
    query: Option<Value>,
}

impl Select {
    /// The selection these arguments describe.
    ///
    /// # Errors
    /// Wrong usage: an empty name.
    pub(crate) fn selection(&self, filter: &Filter) -> Result<Selection> {
        let mut selection = match (&self.stream, &self.category) {
            (Some(stream), _) => Selection::stream(stream)?,
            (None, Some(category)) => Selection::category(category)?,
            (None, None) if self.all => Selection::all(),
            (None, None) => Selection::events(&self.types, &self.tags)?,
        };
        for (name, value) in [
            ("stream_prefix", &filter.stream_prefix),
            ("stream_regex", &filter.stream_regex),
            ("type_prefix", &filter.type_prefix),
            ("type_regex", &filter.type_regex),
        ] {
            if let Some(value) = value {
                selection.set(name, value);
            }
        }
        if filter.exclude_system {
            selection.set("exclude_system", "true");
        }
        Ok(selection)
    }
}

impl Filter {
    /// The filters that are given, as fields of a body.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in [
            ("stream_prefix", &self.stream_prefix),
            ("stream_regex", &self.stream_regex),
            ("type_prefix", &self.type_prefix),
            ("type_regex", &self.type_regex),
        ] {
            if let Some(value) = value {
                fields.insert(name.into(), in_body(name, value.clone()));
            }
        }
        if self.exclude_system {
            fields.insert("exclude_system".into(), true.into());
        }
        fields
    }
}

impl Selection {
    /// One stream.
    ///
    /// # Errors
    /// An empty name.
    pub(crate) fn stream(name: &str) -> Result<Selection> {
        Selection::named("streams", name)
    }

    /// A category.
    ///
    /// # Errors
    /// An empty name.
    pub(crate) fn category(name: &str) -> Result<Selection> {
        Selection::named("categories", name)
    }

    /// The whole log.
    pub(crate) fn all() -> Selection {
        Selection { from: None, path: "/v1/all".into(), parameters: Vec::new(), query: None }
    }

    /// Events of any of these types that carry all of these tags.
    ///
    /// # Errors
    /// An empty name.
    pub(crate) fn events(types: &[String], tags: &[String]) -> Result<Selection> {
        match (types, tags) {
            ([one], []) => Selection::named("types", one),
            ([], [first, more @ ..]) => {
                let mut selection = Selection::named("tags", first)?;
                selection.parameters.extend(more.iter().map(|tag| ("tag", tag.clone())));
                Ok(selection)
            }
            _ => Ok(Selection {
                from: None,
                path: "/v1/query".into(),
                parameters: Vec::new(),
                query: Some(json!({"items": [{"types": types, "tags": tags}]})),
            }),
        }
    }

    fn named(kind: &str, name: &str) -> Result<Selection> {
        if name.is_empty() {
            return Err(usage("the name of what to read is empty"));
        }
        let path = format!("/v1/{kind}/{}", encode(name));
        Ok(Selection { from: None, path, parameters: Vec::new(), query: None })
    }

    /// Sets a parameter.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.parameters.push((name, value.into()));
    }

    /// Path with parameters, and the body if the selection needs one.
    pub(crate) fn request(&self, more: &[(&'static str, String)]) -> (String, Option<Vec<u8>>) {
        let parameters: Vec<_> = self.parameters.iter().chain(more).cloned().collect();
        match &self.query {
            None => (super::client::target(&self.path, &parameters), None),
            Some(query) => {
                let mut body = Map::new();
                body.insert("query".into(), query.clone());
                for (name, value) in parameters {
                    body.insert(name.into(), in_body(name, value));
                }
                (self.path.clone(), Some(Value::Object(body).to_string().into_bytes()))
            }
        }
    }
}

/// A parameter as a field of the body: numbers, flags and lists are not text there.
fn in_body(name: &str, value: String) -> Value {
    match name {
        "limit" | "bytes" | "position" => value.parse::<u64>().map_or(Value::String(value), Value::from),
        "exclude_system" => Value::Bool(value == "true"),
        "stream_prefix" | "type_prefix" => value.split(',').filter(|prefix| !prefix.is_empty()).collect(),
        "from" => value.parse::<u64>().map_or(Value::String(value), Value::from),
        _ => Value::String(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_or_tags_are_paths_and_both_together_a_query() {
        let text = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let path = |types: &[&str], tags: &[&str]| {
            Selection::events(&text(types), &text(tags)).unwrap().request(&[]).0
        };
        assert_eq!(path(&["A"], &[]), "/v1/types/A");
        assert_eq!(path(&[], &["x y", "z"]), "/v1/tags/x%20y?tag=z");
        let (path, body) =
            Selection::events(&text(&["A"]), &text(&["x"])).unwrap().request(&[("limit", "5".into())]);
        assert_eq!(path, "/v1/query");
        let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(body, json!({"query": {"items": [{"types": ["A"], "tags": ["x"]}]}, "limit": 5}));
        assert!(Selection::stream("").is_err());
    }
}
