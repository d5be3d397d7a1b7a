//! What the words of a template mean. Evaluates nothing.

use engine::Result;

use super::functions;
use super::lex::{Part, Token, TokenKind};
use super::value::Value;
use super::wrong;

/// How deep blocks and parentheses may be in one another: what reads them calls itself.
const DEEPEST: usize = 100;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `if` with each `else if`.
    If {
        branches: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        inside: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        inside: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// Commands, each of which gets the result of the one before.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Variables that it is for.
    pub(super) variables: Vec<String>,
    /// Whether they are new.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) words: Vec<Operand>,
}

/// A value before it is known.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// Fields of fields of it.
    pub(super) fields: Vec<String>,
}

/// Where it begins.
#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(&'static str),
    Nested(Pipeline),
}

/// Reads all parts.
pub(super) fn parse(parts: &[Part]) -> Result<Vec<Node>> {
    let mut reader = Reader { parts, depth: 0, loops: 0 };
    let (nodes, end) = reader.block()?;
    match end {
        None => Ok(nodes),
        Some(end) => Err(wrong(format!("`{}` ends nothing", end.word()))),
    }
}

/// What ends a block.
enum End<'a> {
    End,
    Else(&'a [Token]),
}

impl End<'_> {
    fn word(&self) -> &'static str {
        match self {
            End::End => "end",
            End::Else(_) => "else",
        }
    }
}

struct Reader<'a> {
    parts: &'a [Part],
    depth: usize,
    loops: usize,
}

impl<'a> Reader<'a> {
    /// Nodes up to what ends them.
    fn block(&mut self) -> Result<(Vec<Node>, Option<End<'a>>)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(wrong(format!("blocks are more than {DEEPEST} deep in one another")));
        }
        let mut nodes = Vec::new();
        while let Some((part, rest)) = self.parts.split_first() {
            self.parts = rest;
            let tokens = match part {
                Part::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Part::Action(tokens) => tokens,
            };
            let word = match tokens.first().map(|token| &token.kind) {
                Some(TokenKind::Word(word)) => word.as_str(),
                _ => "",
            };
            let behind = tokens.get(1..).unwrap_or_default();
            match word {
                "end" | "else" => {
                    self.depth -= 1;
                    let end = if word == "end" { End::End } else { End::Else(behind) };
                    return Ok((nodes, Some(end)));
                }
                "if" => nodes.push(self.conditional(behind)?),
                "with" => {
                    let value = pipeline(behind)?;
                    let (inside, otherwise) = self.two_blocks(word)?;
                    nodes.push(Node::With { value, inside, otherwise });
                }
                "range" => {
                    let over = pipeline(behind)?;
                    self.loops += 1;
                    let blocks = self.two_blocks(word);
                    self.loops -= 1;
                    let (inside, otherwise) = blocks?;
                    nodes.push(Node::Range { over, inside, otherwise });
                }
                "break" | "continue" if self.loops == 0 => {
                    return Err(wrong(format!("`{word}` stands in no `range`")));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    let error = wrong(format!("`{word}` is not known here"));
                    return Err(
                        error.with_hint("templates within templates are left out: write it where it belongs")
                    );
                }
                _ => nodes.push(Node::Print(pipeline(tokens)?)),
            }
        }
        self.depth -= 1;
        Ok((nodes, None))
    }

    fn conditional(&mut self, condition: &[Token]) -> Result<Node> {
        let mut branches = Vec::new();
        let mut condition = pipeline(condition)?;
        loop {
            let (inside, end) = self.block()?;
            branches.push((condition, inside));
            match end {
                Some(End::End) => return Ok(Node::If { branches, otherwise: Vec::new() }),
                Some(End::Else([])) => {
                    let otherwise = self.last_block("if")?;
                    return Ok(Node::If { branches, otherwise });
                }
                Some(End::Else([first, behind @ ..])) if first.kind == TokenKind::Word("if".to_owned()) => {
                    condition = pipeline(behind)?;
                }
                Some(End::Else(_)) => return Err(wrong("what stands behind `else` is no `if`")),
                None => return Err(unended("if")),
            }
        }
    }

    fn two_blocks(&mut self, word: &str) -> Result<(Vec<Node>, Vec<Node>)> {
        match self.block()? {
            (inside, Some(End::End)) => Ok((inside, Vec::new())),
            (inside, Some(End::Else([]))) => Ok((inside, self.last_block(word)?)),
            (_, Some(End::Else(_))) => Err(wrong(format!("`else` of `{word}` has something behind it"))),
            (_, None) => Err(unended(word)),
        }
    }

    fn last_block(&mut self, word: &str) -> Result<Vec<Node>> {
        match self.block()? {
            (nodes, Some(End::End)) => Ok(nodes),
            (_, Some(End::Else(_))) => Err(wrong(format!("`{word}` has a second `else`"))),
            (_, None) => Err(unended(word)),
        }
    }
}

fn unended(word: &str) -> engine::Error {
    wrong(format!("`{word}` has no `{{{{end}}}}`"))
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline> {
    let mut words = Words { tokens, depth: 0 };
    let pipeline = words.pipeline()?;
    match words.tokens {
        [] => Ok(pipeline),
        _ => Err(wrong("a `)` has no `(`, or a `,` is out of place")),
    }
}

struct Words<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Words<'_> {
    fn peek(&self, index: usize) -> Option<&TokenKind> {
        self.tokens.get(index).map(|token| &token.kind)
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        let (variables, declares) = self.variables();
        let mut commands = vec![self.command()?];
        while self.peek(0) == Some(&TokenKind::Pipe) {
            self.tokens = &self.tokens[1..];
            commands.push(self.command()?);
        }
        Ok(Pipeline { variables, declares, commands })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`
    fn variables(&mut self) -> (Vec<String>, bool) {
        let named = |index: usize| match self.peek(index) {
            Some(TokenKind::Variable(name)) => Some(name.clone()),
            _ => None,
        };
        let names = match (named(0), self.peek(1), named(2)) {
            (Some(one), Some(TokenKind::Comma), Some(two)) => vec![one, two],
            (Some(one), ..) => vec![one],
            _ => return (Vec::new(), false),
        };
        let length = 2 * names.len();
        let declares = match self.peek(length - 1) {
            Some(TokenKind::Declare) => true,
            Some(TokenKind::Assign) => false,
            _ => return (Vec::new(), false),
        };
        self.tokens = &self.tokens[length..];
        (names, declares)
    }

    fn command(&mut self) -> Result<Command> {
        let mut words = Vec::new();
        while let Some(operand) = self.operand()? {
            words.push(operand);
        }
        match words.is_empty() {
            true => Err(wrong("an action, or a part of one, is empty")),
            false => Ok(Command { words }),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some((token, rest)) = self.tokens.split_first() else { return Ok(None) };
        let mut fields = Vec::new();
        let base = match &token.kind {
            TokenKind::Pipe | TokenKind::Close | TokenKind::Comma => return Ok(None),
            TokenKind::Declare | TokenKind::Assign => {
                return Err(wrong("`:=` or `=` stands behind something else than a variable"));
            }
            TokenKind::Dot => Base::Dot,
            TokenKind::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            TokenKind::Variable(name) => Base::Variable(name.clone()),
            TokenKind::Literal(value) => Base::Literal(value.clone()),
            TokenKind::Word(word) => match word.as_str() {
                "true" => Base::Literal(Value::Bool(true)),
                "false" => Base::Literal(Value::Bool(false)),
                "nil" => Base::Literal(Value::Null),
                word => Base::Function(functions::find(word)?),
            },
            TokenKind::Open => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(wrong(format!("parentheses are more than {DEEPEST} deep in one another")));
                }
                self.tokens = rest;
                let nested = self.pipeline()?;
                if self.peek(0) != Some(&TokenKind::Close) {
                    return Err(wrong("a `(` has no `)`"));
                }
                self.depth -= 1;
                Base::Nested(nested)
            }
        };
        self.tokens = &self.tokens[1..];
        while let Some(Token { kind: TokenKind::Field(name), is_glued: true }) = self.tokens.first() {
            fields.push(name.clone());
            self.tokens = &self.tokens[1..];
        }
        Ok(Some(Operand { base, fields }))
    }
}
