//! What templates print, by what Go's print for the same.

use std::collections::BTreeMap;

use super::*;

fn value() -> Value {
    let labels: BTreeMap<String, String> =
        [("b", "2"), ("a.b/c", "1")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let config: Value = vec![
        Field::if_set("Env", vec!["PATH=/bin", "A=b"]),
        Field::if_set("Cmd", Value::List(Vec::new())),
        Field::if_set("Labels", labels),
        Field::if_set("Entrypoint", Value::of_kind(&Value::List(Vec::new()), None)),
        Field::if_set("Volumes", Value::of_kind(&Value::Map(Map::with_zero(Vec::<Field>::new())), None)),
        Field::if_set("Healthcheck", Value::of_kind(&Value::Null, None)),
    ]
    .into();
    vec![
        Field::new("Id", "sha256:0123"),
        Field::new("RepoTags", vec!["a:1", "b:2"]),
        Field::new("Size", 42u64),
        Field::new("Config", config),
    ]
    .into()
}

fn render(template: &str) -> Result<String> {
    Template::parse(template)?.render(&value())
}

#[test]
fn templates_print_what_gos_print() {
    for (template, expected) in [
        ("", ""),
        ("x\\ty\\n", "x\ty\n"),
        ("{{.Id}} {{ .ID }}", "sha256:0123 sha256:0123"),
        ("{{.Config.Env}}", "[PATH=/bin A=b]"),
        ("{{.Config.Cmd}}", "[]"),
        ("{{json .RepoTags}}", r#"["a:1","b:2"]"#),
        ("{{json .Config}}", r#"{"Env":["PATH=/bin","A=b"],"Labels":{"a.b/c":"1","b":"2"}}"#),
        ("{{.Config.Labels}}", "map[a.b/c:1 b:2]"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ("{{index .Config.Labels \"a.b/c\"}}", "1"),
        ("<{{index .Config.Labels \"none\"}}>", "<>"),
        ("{{index .Config.Volumes \"/none\"}}{{range .Config.Volumes}}x{{end}}", "{}"),
        ("{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{json .Config.Volumes}}", "[] null null"),
        ("{{.Config.Entrypoint}} {{.Config.Volumes}} {{len .Config.Entrypoint}}", "[] map[] 0"),
        ("{{join .Config.Entrypoint \" \"}}{{json (or .Config.Entrypoint .Config.Volumes)}}", "null"),
        ("{{index .RepoTags 0}}", "a:1"),
        ("{{(index .RepoTags 1) | upper}}", "B:2"),
        ("{{range .RepoTags}}<{{.}}>{{end}}", "<a:1><b:2>"),
        ("{{range $i, $e := .RepoTags}}{{$i}}={{$e}} {{end}}", "0=a:1 1=b:2 "),
        ("{{range $key, $value := .Config.Labels}}{{$key}}:{{$value}};{{end}}", "a.b/c:1;b:2;"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range .RepoTags}}{{if eq . \"b:2\"}}{{continue}}{{end}}{{.}}{{end}}", "a:1"),
        ("{{range .RepoTags}}{{.}}{{break}}{{end}}", "a:1"),
        ("{{range .RepoTags}}{{$.Size}}{{end}}", "4242"),
        ("{{if .Config.Cmd}}x{{else if eq .Size 42}}y{{else}}z{{end}}", "y"),
        ("{{if and .Id (not .Config.Cmd)}}x{{end}}", "x"),
        ("{{if or .Config.Cmd .Config.Env}}x{{end}}", "x"),
        ("{{with .Config}}{{len .Env}}{{end}}", "2"),
        ("{{with .Config.Healthcheck}}x{{else}}{{.Size}}{{end}}", "42"),
        ("{{$x := .Size}}{{$x}}{{$x = 1}}{{$x}}", "421"),
        ("a {{- .Size -}} b", "a42b"),
        ("a{{/* note }} */}}b{{- /* x */ -}} c", "abc"),
        ("{{printf \"%-5v|%5d|%05d|%.3s|%%\" .Size .Size .Size .Id}}", "42   |   42|00042|sha|%"),
        ("{{printf \"%q\" .Id}}", "\"sha256:0123\""),
        ("{{join .Config.Env \", \"}}", "PATH=/bin, A=b"),
        ("{{index (split (index .Config.Env 1) \"=\") 1}}", "b"),
        ("{{slice .Id 7 9}} {{slice .RepoTags 1}}", "01 [b:2]"),
        ("{{gt .Size 41}} {{lt .Size 41}} {{ne .Id \"x\"}}", "true false true"),
        ("{{title \"a bc\"}} {{lower \"AB\"}} {{pad \"x\" 1 2}}| {{truncate .Id 3}}", "A Bc ab  x  | sha"),
        ("{{print 1 true nil}} {{println .Size}}", "1 true <nil> 42\n"),
        ("{{print 1 2 \"a\" 3 \"b\" \"c\" .RepoTags 4}}", "1 2a3bc[a:1 b:2] 4"),
        (
            "{{println nil .Id}}{{printf \"%v\" nil}} {{.Config.Healthcheck}}",
            "<nil> sha256:0123\n<nil> <nil>",
        ),
        ("{{.Id | and .Config.Cmd}} {{.Id | and .Size}}", "[] sha256:0123"),
        ("{{.Id | or .Config.Cmd}} {{.Id | or .Size}}", "sha256:0123 42"),
        ("{{if .Size | and .Config.Cmd}}x{{else}}y{{end}}", "y"),
        ("{{`a\\n`}}{{\"a\\\"b\\n\"}}", "a\\na\"b\n"),
        ("{{.Size | printf \"%d!\"}}", "42!"),
        ("}} {x}", "}} {x}"),
    ] {
        assert_eq!(render(template).expect(template), expected, "{template}");
    }
}

#[test]
fn what_a_template_can_not_do_is_said() {
    for (template, reason) in [
        ("{{.Nope}}", "`.Nope` is no field"),
        ("{{.Size.X}}", "`.X` is asked for of a number"),
        ("{{.Id", "has no `}}`"),
        ("{{", "has no `}}`"),
        ("{{}}", "empty"),
        ("{{ID}}", "`ID` is no function"),
        ("{{if .Id}}x", "`if` has no `{{end}}`"),
        ("{{end}}", "ends nothing"),
        ("{{else}}", "ends nothing"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "second `else`"),
        ("{{break}}", "stands in no `range`"),
        ("{{define \"x\"}}{{end}}", "`define` is not known here"),
        ("{{range .Size}}{{end}}", "goes over a list"),
        ("{{index .RepoTags 7}}", "number 7 of a list of 2"),
        ("{{index .RepoTags \"x\"}}", "can't look a text up in a list"),
        ("{{len}}", "`len` can't be called with nothing"),
        ("{{eq .Id 1}}", "can't be compared"),
        ("{{.Id .Size}}", "is no function"),
        ("{{$x}}", "`$x` is no variable"),
        ("{{\"x}}", "no end"),
        ("{{(.Id}}", "no `)`"),
        ("{{.Id)}}", "no `(`"),
        ("{{99999999999999999999x}}", "no number"),
        ("{{printf \"%d\" .Id}}", "`%d` of `printf` is not for a text"),
        ("{{printf \"%s\"}}", "no argument"),
        ("{{printf \"%99999d\" 1}}", "wider"),
        ("{{.Id ^}}", "`^` has no meaning"),
    ] {
        let error = render(template).expect_err(template);
        assert!(
            error.to_string().starts_with("--format: ") && error.to_string().contains(reason),
            "{template}: {error}"
        );
    }
    let deep = format!("{{{{{}}}}}", "(".repeat(100_000));
    assert!(render(&deep).expect_err("too deep").to_string().contains("deep"));
    let deep = "{{if .Id}}".repeat(100_000);
    assert!(render(&deep).expect_err("too deep").to_string().contains("deep"));
}

#[test]
fn listing_is_a_table_json_or_lines() {
    let rows: Vec<Value> = [("a", "1"), ("long", "22")]
        .map(|(name, size)| vec![Field::new("Name", name), Field::new("Size", size)].into())
        .into();
    let render = |format, heading| {
        let titles = &[("Name", "NAME"), ("Size", "ROOM")];
        Listing { format, columns: "{{.Name}}\\t{{.Size}}", titles, heading }.render(&rows).expect("legal")
    };
    assert_eq!(render(None, Heading::Shown), "NAME   ROOM\na      1\nlong   22\n");
    assert_eq!(columns(&[vec!["é", "x"], vec!["ab", "y"]]), "é    x\nab   y\n", "by letters, not by bytes");
    assert_eq!(render(None, Heading::LeftOut), "a      1\nlong   22\n");
    assert_eq!(
        render(Some("table {{.Size}}\\t{{upper .Name}}"), Heading::Shown),
        "ROOM   NAME\n1      A\n22     LONG\n"
    );
    assert_eq!(render(Some("{{.Name}}:{{.Size}}"), Heading::Shown), "a:1\nlong:22\n");
    assert_eq!(
        render(Some("json"), Heading::Shown),
        "{\"Name\":\"a\",\"Size\":\"1\"}\n{\"Name\":\"long\",\"Size\":\"22\"}\n"
    );
}
