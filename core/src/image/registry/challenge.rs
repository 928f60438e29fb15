//! Parses `WWW-Authenticate`: how a registry wants to be asked.
//!
//! The bytes are foreign. What does not follow the grammar ends its header; the challenges before
//! it count.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>,
//! <https://distribution.github.io/distribution/spec/auth/token/>

/// One challenge: `Bearer realm="https://auth.example/token",service="registry"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    pub(super) scheme: String,
    /// Names in lower case; of one that comes twice, both.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// All challenges of one header field's value.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut input = Input(header);
    loop {
        input.skip_separators();
        let Some(scheme) = input.token() else { return challenges };
        let mut challenge =
            Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() };
        let spaced = input.skip_spaces();
        let mut more = spaced || input.0.is_empty() || input.0.starts_with(',');
        if spaced {
            more = input.parameters(&mut challenge.parameters);
        }
        challenges.push(challenge);
        if !more {
            return challenges;
        }
    }
}

/// What is left to be parsed.
struct Input<'a>(&'a str);

impl<'a> Input<'a> {
    /// Parameters up to the next challenge; whether one may follow.
    fn parameters(&mut self, parameters: &mut Vec<(String, String)>) -> bool {
        loop {
            self.skip_separators();
            let before = self.0;
            let Some(name) = self.token() else { return self.0.is_empty() };
            self.skip_spaces();
            let Some(rest) = self.0.strip_prefix('=') else {
                // A scheme: the next challenge begins with it.
                self.0 = before;
                return true;
            };
            self.0 = rest;
            self.skip_spaces();
            let Some(value) = self.value() else { return false };
            parameters.push((name.to_ascii_lowercase(), value));
            self.skip_spaces();
            if !self.0.is_empty() && !self.0.starts_with(',') {
                return false;
            }
        }
    }

    fn value(&mut self) -> Option<String> {
        match self.0.strip_prefix('"') {
            Some(rest) => self.quoted(rest),
            None => self.token().map(str::to_owned),
        }
    }

    /// A quoted string, behind its opening quote.
    fn quoted(&mut self, rest: &'a str) -> Option<String> {
        let mut value = String::new();
        let mut characters = rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                character => value.push(character),
            }
        }
        None
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.find(|c: char| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn skip_spaces(&mut self) -> bool {
        let before = self.0.len();
        self.0 = self.0.trim_start_matches([' ', '\t']);
        self.0.len() < before
    }

    fn skip_separators(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }
}

/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(header: &str) -> String {
        let show = |c: &Challenge| {
            let parameters: Vec<_> =
                c.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{}({})", c.scheme, parameters.join(" "))
        };
        parse(header).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_are_told_apart() {
        for (header, expected) in [
            ("", ""),
            ("Basic", "basic()"),
            (r#"Basic realm="a b""#, "basic(realm=a b)"),
            (
                r#"Bearer realm="https://a/t",service="r",scope="repository:a:pull,push""#,
                "bearer(realm=https://a/t service=r scope=repository:a:pull,push)",
            ),
            (r#"BEARER Realm = "x" , service=r"#, "bearer(realm=x service=r)"),
            (r#"Basic realm="a", Bearer realm="b""#, "basic(realm=a) bearer(realm=b)"),
            ("Negotiate, Basic realm=a", "negotiate() basic(realm=a)"),
            (r#",, Basic ,realm="a",,"#, "basic(realm=a)"),
            (
                r#"Bearer realm="a\"b\\c",error="insufficient_scope""#,
                r#"bearer(realm=a"b\c error=insufficient_scope)"#,
            ),
            // What is malformed ends it.
            (r#"Bearer realm="a"#, "bearer()"),
            (r#"Bearer realm="a" x="b""#, "bearer(realm=a)"),
            ("Negotiate YII=, Basic realm=a", "negotiate()"),
            ("\u{e9}", ""),
            ("Basic;x", "basic()"),
        ] {
            assert_eq!(show(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends(header: String) {
            prop_assert!(parse(&header).len() <= header.len());
        }

        #[test]
        fn text_that_looks_like_challenges_ends(header in r#"([a-z]{1,3}[ =,]{0,2}|"|\\|é){0,40}"#) {
            let _ = parse(&header);
        }

        #[test]
        fn what_is_quoted_is_read_again(
            challenges in prop::collection::vec(("[a-z]{1,8}", "[a-z]{1,8}", any::<String>()), 0..5)
        ) {
            let quote = |s: &str| s.replace('\\', r"\\").replace('"', "\\\"");
            let header: Vec<String> = challenges
                .iter()
                .map(|(scheme, name, value)| format!("{scheme} {name}=\"{}\"", quote(value)))
                .collect();
            let parsed: Vec<_> = parse(&header.join(", "))
                .into_iter()
                .map(|mut c| {
                    let (name, value) = c.parameters.remove(0);
                    (c.scheme, name, value)
                })
                .collect();
            prop_assert_eq!(parsed, challenges);
        }
    }
}
