//! Expressions from their text, by precedence: or, and, not, comparison, sum, product, sign.

use crate::Value;

use super::{Expression, Operator};

/// Deeper nesting is refused: it would only be there to break something.
const DEPTH: usize = 50;
const MOST_TOKENS: usize = 250;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Integer(i64),
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 15] = ["<=", ">=", "==", "!=", "<>", "<", ">", "=", "+", "-", "*", "/", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_ascii_digit() || first == '.' {
            number(rest)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
            (Token::Name(rest[..end].to_owned()), end)
        } else if first == '"' || first == '\'' {
            let end = rest[1..].find(first).ok_or_else(|| format!("the text {rest} is not closed"))?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err(format!("{first:?} has no meaning here"));
        };
        if found.len() == MOST_TOKENS {
            return Err(format!("the expression is longer than {MOST_TOKENS} words and signs"));
        }
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let mut end = 0;
    let bytes = text.as_bytes();
    while end < bytes.len() {
        let is_sign_of_exponent = matches!(bytes[end], b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        if bytes[end].is_ascii_alphanumeric() || matches!(bytes[end], b'.' | b'_') || is_sign_of_exponent {
            end += 1;
        } else {
            break;
        }
    }
    let digits = text[..end].replace('_', "");
    if let Ok(number) = digits.parse() {
        return Ok((Token::Integer(number), end));
    }
    let number = digits.parse().map_err(|_| format!("{:?} is no number", &text[..end]))?;
    Ok((Token::Number(number), end))
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

/// The whole of `text` as one expression.
pub(crate) fn parse(text: &str) -> Result<Expression, String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, depth: 0 };
    if reader.tokens.is_empty() {
        return Err("there is no expression".to_owned());
    }
    let found = reader.or()?;
    match reader.tokens.get(reader.at) {
        None => Ok(found),
        Some(token) => Err(format!("{} is one too many", told(token))),
    }
}

/// An expression, and the text behind a comma if one follows it: `expression, "message"`.
pub(crate) fn parse_with_message(text: &str) -> Result<(Expression, Option<String>), String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, depth: 0 };
    let found = reader.or()?;
    match &reader.tokens[reader.at..] {
        [] => Ok((found, None)),
        [Token::Sign(","), Token::Text(message)] => Ok((found, Some(message.clone()))),
        [token, ..] => Err(format!("{} is one too many", told(token))),
    }
}

fn told(token: &Token) -> String {
    match token {
        Token::Number(number) => number.to_string(),
        Token::Integer(number) => number.to_string(),
        Token::Text(text) => format!("{text:?}"),
        Token::Name(name) => name.clone(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

impl Reader {
    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&Token::Sign(signed(sign)));
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.tokens.get(self.at), Some(Token::Name(name)) if name.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn or(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("the expression is nested too deeply".to_owned());
        }
        let mut left = self.and()?;
        while self.word("or") {
            left = both(Operator::Or, left, self.and()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.not()?;
        while self.word("and") {
            left = both(Operator::And, left, self.not()?);
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, String> {
        let mut times = 0;
        while self.word("not") {
            times += 1;
        }
        let mut found = self.comparison()?;
        for _ in 0..times {
            found = Expression::Not(Box::new(found));
        }
        Ok(found)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let mut left = self.sum()?;
        let mut compared: Option<Expression> = None;
        // a < b < c is a < b and b < c.
        while let Some(operator) = self.comparing() {
            let right = self.sum()?;
            let one = both(operator, left, right.clone());
            compared = Some(match compared {
                Some(before) => both(Operator::And, before, one),
                None => one,
            });
            left = right;
        }
        Ok(compared.unwrap_or(left))
    }

    fn comparing(&mut self) -> Option<Operator> {
        let signs = [
            ("<=", Operator::LessOrEqual),
            (">=", Operator::MoreOrEqual),
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<>", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        signs.into_iter().find(|(sign, _)| self.take(sign)).map(|(_, operator)| operator)
    }

    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                Operator::Plus
            } else if self.take("-") {
                Operator::Minus
            } else {
                return Ok(left);
            };
            left = both(operator, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.signed()?;
        loop {
            let operator = if self.take("*") {
                Operator::Times
            } else if self.take("/") {
                Operator::By
            } else {
                return Ok(left);
            };
            left = both(operator, left, self.signed()?);
        }
    }

    fn signed(&mut self) -> Result<Expression, String> {
        let mut is_negative = false;
        while self.take("-") {
            is_negative = !is_negative;
        }
        let found = self.single()?;
        Ok(if is_negative { Expression::Negative(Box::new(found)) } else { found })
    }

    fn single(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let found = self.or()?;
            return if self.take(")") { Ok(found) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let token = self.tokens.get(self.at).cloned().ok_or("the expression ends too early")?;
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Expression::Constant(Value::Float(number))),
            Token::Integer(number) => Ok(Expression::Constant(Value::Int(number))),
            Token::Text(text) => Ok(Expression::Constant(Value::Text(text))),
            Token::Name(name) if self.take("(") => self.call(name),
            Token::Name(name) => match name.as_str() {
                "true" => Ok(Expression::Constant(Value::Bool(true))),
                "false" => Ok(Expression::Constant(Value::Bool(false))),
                _ => {
                    // Columns may have points in their names: params.lr of a cell is cell.params.lr.
                    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                    let is_whole = path.iter().all(|part| !part.is_empty());
                    if is_whole { Ok(Expression::Name(path)) } else { Err(format!("{name} is no name")) }
                }
            },
            Token::Sign(sign) => Err(format!("{sign} stands where a value should")),
        }
    }

    fn call(&mut self, name: String) -> Result<Expression, String> {
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.or()?);
                if self.take(")") {
                    break;
                }
                if !self.take(",") {
                    return Err(format!("the parenthesis of {name}( is not closed"));
                }
            }
        }
        Ok(Expression::Call(name, arguments))
    }
}

fn both(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression::Both(operator, Box::new(left), Box::new(right))
}

fn signed(sign: &str) -> &'static str {
    SIGNS.into_iter().find(|known| *known == sign).unwrap_or("")
}
