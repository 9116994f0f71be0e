//! The document as a judge: what it says of calls and of their answers.

use std::io::Read as _;
use std::time::Duration;

use rand::rngs::StdRng;
use serde_json::Value;
use ureq::http::{HeaderValue, Request};

use super::{Call, at, bodies, chance, schema, values};

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// 0 when there was none.
    pub status: u16,
    pub media: String,
    pub request_id: String,
    pub body: String,
}

/// The OpenAPI document.
pub struct Document {
    document: Value,
}

/// An operation of the document.
pub struct Operation {
    /// Method and path.
    pub route: String,
    method: String,
    path: String,
    guarded: bool,
    operation: Value,
}

impl Document {
    /// The document.
    pub const fn new(document: Value) -> Self {
        Self { document }
    }

    /// Every operation.
    pub fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if operation["operationId"].is_null() {
                    continue;
                }
                let method = method.to_uppercase();
                all.push(Operation {
                    route: format!("{method} {path}"),
                    method,
                    path: path.clone(),
                    guarded: operation["x-acequia-right"].is_string(),
                    operation: operation.clone(),
                });
            }
        }
        assert!(all.len() > 40, "{}", all.len());
        all
    }

    /// A schema, or the one that it refers to.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => {
                let pointer = name.trim_start_matches('#');
                self.document.pointer(pointer).expect(name)
            }
            None => schema,
        }
    }

    /// The fault of an answer, if it has one.
    pub fn fault(&self, call: &Call, answer: &Answered) -> Option<String> {
        if answer.status == 0 {
            return Some("no answer".to_owned());
        }
        if answer.status >= 500 {
            return Some(format!("status {}", answer.status));
        }
        let operations = self.operations();
        let operation = operations.iter().find(|one| one.route == call.route)?;
        if operation.guarded && call.role.is_none() && answer.status != 401 {
            return Some(format!("status {} without a token", answer.status));
        }
        let responses = at(&operation.operation, &["responses"]);
        let class = format!("{}XX", answer.status / 100);
        let exact = answer.status.to_string();
        let documented = [&exact, &class]
            .into_iter()
            .find(|name| responses[name.as_str()].is_object());
        let Some(name) = documented else {
            return Some(format!("status {exact} is not documented"));
        };
        let content = &responses[name.as_str()]["content"];
        let Some(content) = content.as_object() else {
            let nothing = answer.body.is_empty();
            return (!nothing).then(|| format!("a body where {name} has none"));
        };
        let Some(media) = content.get(&answer.media) else {
            return Some(format!("media type {} of status {name}", answer.media));
        };
        if answer.media == "application/x-ndjson" {
            let lines = answer.body.lines();
            let wrong = lines.filter(|line| serde_json::from_str::<Value>(line).is_err());
            return wrong.map(|line| format!("not JSON: {line}")).next();
        }
        if !answer.media.ends_with("json") {
            return None;
        }
        let Ok(body) = serde_json::from_str::<Value>(&answer.body) else {
            return Some("not JSON".to_owned());
        };
        if answer.media == "application/problem+json" {
            let same = body["status"] == answer.status && body["instance"] == *answer.request_id;
            if !same {
                return Some("status or instance is not that of the answer".to_owned());
            }
        }
        let errors = schema::errors(&self.document, &media["schema"], &body);
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

impl Operation {
    /// Whether it hashes a password.
    pub fn hashes(&self) -> bool {
        self.path.contains("password")
            || (self.method == "POST"
                && ["/v1/people", "/v1/session"].contains(&self.path.as_str()))
    }

    /// A call of it.
    pub fn call(
        &self,
        document: &Document,
        known: &values::Known,
        plausible: bool,
        rng: &mut StdRng,
    ) -> Call {
        let (mut path, mut query, mut headers) = (self.path.clone(), Vec::new(), Vec::new());
        let parameters = self.operation["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let meant = values::plausible(&self.path, name, known, rng);
            let keep = plausible || chance(rng, 60);
            match parameter["in"].as_str().unwrap() {
                "path" => {
                    let odd = values::odd(rng);
                    let value = if keep || odd.is_empty() { meant } else { odd };
                    path = path.replace(&format!("{{{name}}}"), &value);
                }
                "query" if plausible && (name == "limit" || parameter["required"] == true) => {
                    query.push(format!("{name}={meant}"));
                }
                "query" if !plausible && chance(rng, 40) => {
                    let value = if keep { meant } else { values::odd(rng) };
                    query.push(format!("{name}={value}"));
                }
                "header" if plausible && parameter["required"] == true => {
                    headers.push((name.to_owned(), meant.into_bytes()));
                }
                "header" if !plausible && chance(rng, 40) => {
                    let value = if keep {
                        meant.into_bytes()
                    } else {
                        values::odd_header(rng)
                    };
                    headers.push((name.to_owned(), value));
                }
                _ => {}
            }
        }
        if !plausible && chance(rng, 10) {
            query.push(format!("{}={}", values::odd(rng), values::odd(rng)));
        }
        if !plausible && chance(rng, 15) {
            headers.push(("accept".to_owned(), values::odd_header(rng)));
        }
        let mut body = Vec::new();
        let schema = at(
            &self.operation,
            &["requestBody", "content", "application/json", "schema"],
        );
        if !schema.is_null() {
            let media;
            (body, media) = if plausible {
                let body = bodies::example(&self.path).to_string().into_bytes();
                (body, "application/json".to_owned())
            } else {
                bodies::odd(document, &self.path, schema, rng)
            };
            if !media.is_empty() {
                headers.push(("content-type".to_owned(), media.into_bytes()));
            }
        }
        let mark = if query.is_empty() { "" } else { "?" };
        Call {
            route: self.route.clone(),
            method: self.method.clone(),
            target: format!("{path}{mark}{}", query.join("&")),
            headers,
            body,
            role: None,
        }
    }
}

/// A client that keeps its connections.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent()
}

/// Makes a call. Of a stream of events only the head is read.
pub fn send(agent: &ureq::Agent, http: &str, call: &Call) -> Answered {
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(format!("http://{http}{}", call.target));
    for (name, value) in &call.headers {
        request = request.header(name, HeaderValue::from_bytes(value).unwrap());
    }
    let request = request.body(call.body.clone()).unwrap();
    let none = Answered {
        status: 0,
        media: String::new(),
        request_id: String::new(),
        body: String::new(),
    };
    let mut answer = match agent.run(request) {
        Ok(answer) => answer,
        Err(error) => {
            let body = error.to_string();
            return Answered { body, ..none };
        }
    };
    let header = |name: &str| {
        let value = answer.headers().get(name);
        let text = value.and_then(|value| value.to_str().ok());
        text.unwrap_or_default().to_owned()
    };
    let media = header("content-type");
    let media = media.split(';').next().unwrap_or_default().to_owned();
    let request_id = header("x-request-id");
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    if media != "text/event-stream"
        && let Err(error) = answer.body_mut().as_reader().read_to_end(&mut bytes)
    {
        let body = error.to_string();
        return Answered { body, ..none };
    }
    Answered {
        status,
        media,
        request_id,
        body: String::from_utf8(bytes).unwrap_or_else(|error| error.to_string()),
    }
}
