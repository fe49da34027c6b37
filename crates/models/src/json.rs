//! JSON as Python reads it: `NaN` and `Infinity` are numbers, whole numbers have no end, of a key that stands twice the
//! last counts.

/// How deep lists and objects may stand in each other.
const MOST_DEPTH: usize = 128;

/// A value of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// A whole number beyond 64 bits, as it was written.
    Big(String),
    /// Any other number, `NaN` and infinities too.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, in the order of the text.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value, and nothing after it. The error names the byte, counted from one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let value = reader.value()?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.problem("something follows the end of the value"));
        }
        Ok(value)
    }

    /// What a sentence calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Big(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// Whether it is neither list nor object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }

    /// An object's value.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As text that Python's `json.loads` reads to the same value.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Big(digits) => out.push_str(digits),
            Self::Float(number) if number.is_nan() => out.push_str("NaN"),
            Self::Float(number) if number.is_infinite() => {
                out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" });
            }
            // `{:?}` keeps the point, so that a float stays one.
            Self::Float(number) => out.push_str(&format!("{number:?}")),
            Self::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The value for a sentence: cut when it is long.
    pub fn shown(&self) -> String {
        let text = self.to_text();
        match text.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn problem(&self, what: &str) -> String {
        format!("{what} (byte {})", self.at + 1)
    }

    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.problem("a value is expected"))
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        self.space();
        match self.peek() {
            None => Err(self.problem("the text ends where a value is expected")),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'N') => self.word("NaN", Json::Float(f64::NAN)),
            Some(b'I') => self.word("Infinity", Json::Float(f64::INFINITY)),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'[') => self.list(),
            Some(b'{') => self.map(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.problem("a value is expected")),
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.problem("lists and objects stand in each other too deeply"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn list(&mut self) -> Result<Json, String> {
        self.deeper()?;
        let mut items = Vec::new();
        if self.peek() != Some(b']') {
            loop {
                items.push(self.value()?);
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return Err(self.problem("`,` or `]` is expected")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Json::List(items))
    }

    fn map(&mut self) -> Result<Json, String> {
        self.deeper()?;
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        if self.peek() != Some(b'}') {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return Err(self.problem("a key in double quotes is expected"));
                }
                let key = self.string()?;
                self.space();
                if self.peek() != Some(b':') {
                    return Err(self.problem("`:` is expected"));
                }
                self.at += 1;
                let value = self.value()?;
                match places.get(&key) {
                    Some(place) => {
                        let entry: &mut (String, Json) = &mut entries[*place];
                        entry.1 = value;
                    }
                    None => {
                        places.insert(key.clone(), entries.len());
                        entries.push((key, value));
                    }
                }
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return Err(self.problem("`,` or `}` is expected")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Json::Map(entries))
    }

    /// Most texts have no escapes and are cut out as they are; serde reads the others.
    fn string(&mut self) -> Result<String, String> {
        let start = self.at + 1;
        let mut end = start;
        let mut is_plain = true;
        loop {
            match self.bytes().get(end) {
                None => return Err(self.problem("this text does not end")),
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    end += 2;
                }
                Some(byte) => {
                    is_plain = is_plain && *byte >= 0x20;
                    end += 1;
                }
            }
        }
        let text = if is_plain {
            self.text[start..end].to_owned()
        } else {
            serde_json::from_str(&self.text[self.at..=end])
                .map_err(|_| self.problem("this text has a control character or an escape that JSON does not know"))?
        };
        self.at = end + 1;
        Ok(text)
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.peek() == Some(b'I') {
                return self.word("Infinity", Json::Float(f64::NEG_INFINITY));
            }
        }
        let whole = self.at;
        if !self.digits() || (self.bytes()[whole] == b'0' && self.at > whole + 1) {
            return Err(self.problem("this is no number"));
        }
        let mut is_whole = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            is_whole = false;
            if !self.digits() {
                return Err(self.problem("digits are expected after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            is_whole = false;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digits() {
                return Err(self.problem("digits are expected in the exponent"));
            }
        }
        let text = &self.text[start..self.at];
        if is_whole {
            return Ok(text.parse().map_or_else(|_| Json::Big(text.to_owned()), Json::Int));
        }
        text.parse().map(Json::Float).map_err(|_| self.problem("this is no number"))
    }
}

#[cfg(test)]
mod tests;
