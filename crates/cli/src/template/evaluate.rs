//! What a template makes of a value.

use engine::Result;

use super::functions;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::print::print;
use super::value::Value;
use super::{Mode, wrong};

/// The text of nodes for a value.
pub(super) fn render(nodes: &[Node], value: &Value, mode: Mode) -> Result<String> {
    let mut state = State { text: String::new(), variables: vec![(String::new(), value.clone())], mode };
    state.nodes(nodes, value)?;
    Ok(state.text)
}

struct State {
    text: String,
    /// The last of a name counts; the one without a name is the value of all.
    variables: Vec<(String, Value)>,
    mode: Mode,
}

/// What comes next.
#[derive(PartialEq, Eq)]
enum Then {
    On,
    Break,
    Continue,
}

impl State {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Then> {
        for node in nodes {
            match node {
                Node::Text(text) => self.text.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.text.push_str(&match value {
                            // What has no value at all has none for fmt either, and that would say `<nil>`.
                            Value::Null => "<no value>".to_owned(),
                            value => print(&value),
                        });
                    }
                }
                Node::Break => return Ok(Then::Break),
                Node::Continue => return Ok(Then::Continue),
                block => match self.block(block, dot)? {
                    Then::On => {}
                    other => return Ok(other),
                },
            }
        }
        Ok(Then::On)
    }

    /// A node with others in it; variables end with it.
    fn block(&mut self, node: &Node, dot: &Value) -> Result<Then> {
        let known = self.variables.len();
        let then = match node {
            Node::If { branches, otherwise } => self.conditional(branches, otherwise, dot),
            Node::With { value, inside, otherwise } => {
                let value = self.pipeline(value, dot)?;
                match value.is_true() {
                    true => self.nodes(inside, &value),
                    false => self.nodes(otherwise, dot),
                }
            }
            Node::Range { over, inside, otherwise } => self.range(over, inside, otherwise, dot),
            _ => unreachable!("the others have no nodes in them"),
        };
        self.variables.truncate(known);
        then
    }

    fn conditional(
        &mut self,
        branches: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Then> {
        for (condition, inside) in branches {
            if self.pipeline(condition, dot)?.is_true() {
                return self.nodes(inside, dot);
            }
        }
        self.nodes(otherwise, dot)
    }

    fn range(&mut self, over: &Pipeline, inside: &[Node], otherwise: &[Node], dot: &Value) -> Result<Then> {
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match value.settled().clone() {
            Value::List(list) => {
                list.into_iter().enumerate().map(|(index, one)| (Value::from(index as u64), one)).collect()
            }
            Value::Map(map) => map.entries.into_iter().map(|(key, one)| (Value::Text(key), one)).collect(),
            Value::Null => Vec::new(),
            other => {
                return Err(wrong(format!(
                    "`range` goes over a list or a map, and not over {}",
                    other.kind()
                )));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (key, one) in items {
            self.variables.truncate(known);
            match &over.variables[..] {
                [] => {}
                [value] => self.variables.push((value.clone(), one.clone())),
                [index, value, ..] => {
                    self.variables.extend([(index.clone(), key), (value.clone(), one.clone())]);
                }
            }
            if self.nodes(inside, &one)? == Then::Break {
                break;
            }
        }
        Ok(Then::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            if pipeline.declares {
                self.variables.push((name.clone(), value.clone()));
            } else {
                let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                known.ok_or_else(|| unknown(name))?.1 = value.clone();
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.expect("no pipeline is empty"))
    }

    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Result<Value> {
        let (first, rest) = command.words.split_first().expect("no command is empty");
        let Base::Function(name) = first.base else {
            return self.value(first, rest, last, dot);
        };
        let mut arguments = Vec::new();
        let mut is_decided = false;
        for word in rest {
            let argument = self.operand(word, dot)?;
            // What decides is the last that is looked at (text/template, "and", "or").
            is_decided = match name {
                "and" => !argument.is_true(),
                "or" => argument.is_true(),
                _ => false,
            };
            arguments.push(argument);
            if is_decided {
                break;
            }
        }
        // What comes through a pipe is the last argument.
        if !is_decided {
            arguments.extend(last);
        }
        self.call(name, arguments).and_then(|value| fields_of(value, &first.fields))
    }

    /// What is no function; only what is looked up by a text takes an argument.
    fn value(
        &mut self,
        first: &Operand,
        rest: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value> {
        let mut arguments: Vec<Value> =
            rest.iter().map(|word| self.operand(word, dot)).collect::<Result<_>>()?;
        arguments.extend(last);
        if self.mode == Mode::Titles && !arguments.is_empty() {
            // As docker has it: a label's column has its name.
            return Ok(arguments.swap_remove(0));
        }
        match (self.operand(first, dot)?, &arguments[..]) {
            (Value::Method(map), [Value::Text(key)]) => {
                Ok(map.entries.get(key).cloned().unwrap_or(*map.zero))
            }
            (Value::Method(_), _) => {
                let error = wrong("what is looked up by a name is given one");
                Err(error.with_hint("write `{{.Label \"name\"}}`"))
            }
            (value, []) => Ok(value),
            _ => Err(wrong("a value is given arguments, and is no function")),
        }
    }

    fn call(&self, name: &'static str, arguments: Vec<Value>) -> Result<Value> {
        match (self.mode, arguments) {
            (Mode::Values, arguments) => functions::call(name, &arguments),
            // A title stays what it is.
            (Mode::Titles, mut arguments) => {
                let title =
                    arguments.iter().rposition(|one| matches!(one, Value::Record(_) | Value::Text(_)));
                Ok(title.map_or(Value::Text(String::new()), |index| arguments.swap_remove(index)))
            }
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.ok_or_else(|| unknown(name))?.1.clone()
            }
            Base::Literal(value) => value.clone(),
            Base::Function(name) => self.call(name, Vec::new())?,
            Base::Nested(pipeline) => self.pipeline(pipeline, dot)?,
        };
        fields_of(base, &operand.fields)
    }
}

fn unknown(variable: &str) -> engine::Error {
    wrong(format!("`${}` is no variable", variable.escape_debug()))
}

fn fields_of(value: Value, fields: &[String]) -> Result<Value> {
    fields.iter().try_fold(value, |value, name| field(value, name))
}

/// A field of a value. Those of records are found whatever their case: docker writes `.ID` and `.Id` for the same.
fn field(value: Value, name: &str) -> Result<Value> {
    match value {
        Value::Record(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_ref()).collect();
            match names.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                Some(index) => Ok(fields.into_iter().nth(index).expect("it was found").value),
                None => {
                    let error = wrong(format!("`.{}` is no field", name.escape_debug()));
                    Err(error.with_hint(format!("there are {}", names.join(", "))))
                }
            }
        }
        Value::Map(mut map) => Ok(map.entries.remove(name).unwrap_or(Value::Null)),
        Value::Unset(empty) => field(*empty, name),
        Value::Null => Ok(Value::Null),
        other => Err(wrong(format!("`.{}` is asked for of {}", name.escape_debug(), other.kind()))),
    }
}
