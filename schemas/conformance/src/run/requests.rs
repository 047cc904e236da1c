//! HTTP steps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::case::{Http, Upgrade};
use crate::http;
use crate::stop::{Step, Stop};

use super::scene::Scene;

impl Scene<'_> {
    pub async fn http(&mut self, request: &Http) -> Step {
        let (path, headers) = (self.text(&request.path)?, self.headers(&request.headers)?);
        let method = request.method.as_deref().unwrap_or("GET");
        let answer = http::ask(&self.suite.options.target, method, &path, &headers, self.patience).await?;
        self.trace.note(format!("{method} {path} → {} {}", answer.status, crate::stop::short(&answer.body)));
        if request.optional && answer.status == 404 {
            return Err(Stop::NotAvailable(format!("{method} {path} is not there")));
        }
        self.compare(&json!({"status": request.status}), &json!({"status": answer.status}))?;
        if let Some(pattern) = &request.json {
            self.compare(pattern, &answer.json()?)?;
        }
        match &request.text {
            None => Ok(()),
            Some(pattern) => self.compare(pattern, &answer.body.into()),
        }
    }

    pub async fn upgrade(&mut self, upgrade: &Upgrade) -> Step {
        let target = &self.suite.options.target;
        let mut headers = vec![
            // `close`: an answer that is no upgrade ends the connection, and so shows where it ends.
            ("Connection".to_owned(), "Upgrade, close".to_owned()),
            ("Upgrade".into(), "websocket".into()),
            ("Sec-WebSocket-Version".into(), "13".into()),
            ("Sec-WebSocket-Key".into(), "dGhlIHNhbXBsZSBub25jZQ==".into()),
        ];
        if let Some(offer) = &upgrade.offer {
            headers.push(("Sec-WebSocket-Protocol".into(), self.text(&offer.as_str().into())?));
        }
        headers.extend(self.headers(&upgrade.headers)?);
        let answer = http::ask(target, "GET", &target.path(), &headers, self.patience).await?;
        self.trace.note(format!("upgrade with {headers:?} → {}", answer.status));
        let chosen = answer.header("sec-websocket-protocol").map_or(Value::Null, Into::into);
        self.compare(&json!({"status": upgrade.status}), &json!({"status": answer.status}))?;
        match &upgrade.chosen {
            None => Ok(()),
            Some(wanted) => self.compare(&wanted.as_str().into(), &chosen),
        }
    }

    fn headers(&self, headers: &BTreeMap<String, Value>) -> Step<Vec<(String, String)>> {
        headers.iter().map(|(name, value)| Ok((name.clone(), self.text(value)?))).collect()
    }
}
