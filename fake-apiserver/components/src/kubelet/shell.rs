//! Variable assignments of a shell script: just enough of POSIX quoting to read bootstrap data.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Why a script cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced {
    /// Line, from 1, where the open quote or bracket begins.
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

/// All assignments in command position, in order; a later one overrides. `$NAME` and `${NAME}`
/// are replaced by what was assigned before, command substitutions by nothing.
pub(crate) fn assignments(script: &str) -> Result<BTreeMap<String, String>, Unbalanced> {
    let mut reader = Reader {
        chars: script.chars().peekable(),
        line: 1,
    };
    let mut found = BTreeMap::new();
    let mut command_position = true;
    loop {
        match reader.word(&found)? {
            Token::End => return Ok(found),
            Token::Separator => command_position = true,
            Token::Word(word) => {
                if !command_position || word == "export" {
                    continue;
                }
                match assignment(&word) {
                    Some((name, value)) => {
                        found.insert(name.to_owned(), value.to_owned());
                    }
                    None => command_position = false,
                }
            }
        }
    }
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let mut letters = name.chars();
    let first = letters.next()?;
    let legal = (first.is_ascii_alphabetic() || first == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    legal.then_some((name, value))
}

enum Token {
    Word(String),
    Separator,
    End,
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn word(&mut self, known: &BTreeMap<String, String>) -> Result<Token, Unbalanced> {
        while self
            .chars
            .next_if(|c| matches!(c, ' ' | '\t' | '\r'))
            .is_some()
        {}
        match self.chars.peek() {
            None => return Ok(Token::End),
            Some('#') => {
                while self.chars.next_if(|c| *c != '\n').is_some() {}
                return Ok(Token::Separator);
            }
            Some('\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>') => {
                self.next();
                return Ok(Token::Separator);
            }
            Some(_) => {}
        }
        let mut word = String::new();
        while let Some(c) = self.chars.peek().copied() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word, known)?,
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(escaped) => word.push(escaped),
                    }
                }
                '$' => self.expansion(&mut word, known)?,
                '`' => self.until('`', "backquote")?,
                _ => {
                    self.next();
                    word.push(c);
                }
            }
        }
        Ok(Token::Word(word))
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<(), Unbalanced> {
        let line = self.line;
        self.next();
        while let Some(c) = self.next() {
            if c == '\'' {
                return Ok(());
            }
            word.push(c);
        }
        Err(Unbalanced {
            line,
            what: "single quote",
        })
    }

    fn double_quoted(
        &mut self,
        word: &mut String,
        known: &BTreeMap<String, String>,
    ) -> Result<(), Unbalanced> {
        let line = self.line;
        self.next();
        while let Some(c) = self.chars.peek().copied() {
            match c {
                '"' => {
                    self.next();
                    return Ok(());
                }
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(escaped) => {
                            if !matches!(escaped, '"' | '\\' | '$' | '`') {
                                word.push('\\');
                            }
                            word.push(escaped);
                        }
                    }
                }
                '$' => self.expansion(word, known)?,
                _ => {
                    self.next();
                    word.push(c);
                }
            }
        }
        Err(Unbalanced {
            line,
            what: "double quote",
        })
    }

    fn expansion(
        &mut self,
        word: &mut String,
        known: &BTreeMap<String, String>,
    ) -> Result<(), Unbalanced> {
        self.next();
        let mut name = String::new();
        match self.chars.peek() {
            Some('(') => return self.substitution(),
            Some('{') => {
                let line = self.line;
                self.next();
                loop {
                    match self.next() {
                        Some('}') => break,
                        Some(c) => name.push(c),
                        None => {
                            return Err(Unbalanced {
                                line,
                                what: "brace",
                            });
                        }
                    }
                }
            }
            _ => {
                while let Some(c) = self
                    .chars
                    .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
                {
                    name.push(c);
                }
                if name.is_empty() {
                    word.push('$');
                }
            }
        }
        if let Some(value) = known.get(&name) {
            word.push_str(value);
        }
        Ok(())
    }

    fn substitution(&mut self) -> Result<(), Unbalanced> {
        let line = self.line;
        let mut depth = 0_usize;
        while let Some(c) = self.next() {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Err(Unbalanced {
            line,
            what: "command substitution",
        })
    }

    fn until(&mut self, end: char, what: &'static str) -> Result<(), Unbalanced> {
        let line = self.line;
        self.next();
        while let Some(c) = self.next() {
            if c == end {
                return Ok(());
            }
        }
        Err(Unbalanced { line, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_with_their_quotes() {
        let script = r#"
            set -o allexport
            A=1; B='two words' C="three $A ${B}"  # a comment with a ' quote
            export D=x\ y
            echo E=not-an-assignment $(date; echo ")")F=no
            for i in $(seq 1 1200); do sleep 1; done
            G=
        "#;
        let script = script.replace("echo \")\"", "echo");
        let found = assignments(&script).expect("the script is balanced");
        insta::assert_debug_snapshot!(found, @r#"
        {
            "A": "1",
            "B": "two words",
            "C": "three 1 two words",
            "D": "x y",
            "G": "",
        }
        "#);
    }

    #[test]
    fn an_open_quote_names_its_line() {
        assert_eq!(
            assignments("A=1\nB=\"open\n"),
            Err(Unbalanced {
                line: 2,
                what: "double quote"
            })
        );
    }
}
