/** `completion`: what a shell needs to complete commands, options and names, made from the commands themselves. */
import { Argument, type Command, type Option } from "commander";
import { command } from "./command.ts";

const EXAMPLES = `
source <(dreamdb completion bash)
dreamdb completion zsh > "\${fpath[1]}/_dreamdb"
dreamdb completion fish > ~/.config/fish/completions/dreamdb.fish`;

const DETAILS = `
Names of datasets, branches and snapshots are asked of the backend that DREAMDB_BACKEND names, or ./dreamdb.
`;

export function completionCommand(): Command {
  return command(
    "completion",
    "print a script that completes dreamdb's commands in a shell",
    EXAMPLES,
    DETAILS,
  )
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action((shell: Shell, _: unknown, self: Command) => {
      const table = tableOf(self.parent as Command);
      process.stdout.write(WRITERS[shell](table));
    });
}

type Shell = "bash" | "zsh" | "fish";

/** What may stand somewhere: one of some words, a path, the name of a ref, or anything. */
type Values = { words: readonly string[] } | "path" | "ref" | "any";

interface Flag {
  /** Such as `--json` or `-h`. */
  names: string[];
  text: string;
  /** What follows it; undefined when nothing does. */
  values: Values | undefined;
}

interface Verb {
  name: string;
  text: string;
  flags: Flag[];
  /** By place; the last stands for all that follow when it may repeat. */
  places: Values[];
  repeats: boolean;
}

function tableOf(root: Command): Verb[] {
  return root.commands.map((each) => ({
    name: each.name(),
    text: each.description(),
    flags: [
      ...each.options.map(flagOf),
      { names: ["--help"], text: "print the manual page", values: undefined },
    ],
    places: each.registeredArguments.map((argument) => valuesOf(argument, argument.name())),
    repeats: each.registeredArguments.at(-1)?.variadic === true,
  }));
}

function flagOf(option: Option): Flag {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  const takesValue = option.required || option.optional;
  // What its value is called in the usage, such as `path` in `--schema <path>`.
  const called = /[<[]([^>\]]+)/.exec(option.flags)?.[1] ?? "";
  return { names, text: option.description, values: takesValue ? valuesOf(option, called) : undefined };
}

function valuesOf({ argChoices, description }: Argument | Option, called: string): Values {
  if (argChoices !== undefined) return { words: argChoices };
  if (/^(path|folder|path-or-url)$/.test(called) || /\bfile\b/.test(description)) return "path";
  if (called === "address") return "any";
  return /\b(dataset|branch|branches|snapshot|snapshots|ref)\b/.test(description) ? "ref" : "any";
}

const WRITERS: Record<Shell, (verbs: readonly Verb[]) => string> = { bash, zsh, fish };

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function bash(verbs: readonly Verb[]): string {
  const completerOf = (values: Values): string => {
    if (values === "path") return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))';
    if (values === "ref") return '_dreamdb_words "$(dreamdb refs --names 2>/dev/null)"';
    return values === "any" ? "COMPREPLY=()" : `_dreamdb_words ${quoted(values.words.join(" "))}`;
  };
  const cases = verbs.map((verb) => {
    const valued = verb.flags.filter(({ values }) => values !== undefined);
    const places = verb.places.map((values, i) => {
      const isLast = i === verb.places.length - 1 && verb.repeats;
      return `      ${isLast ? "*" : i}) ${completerOf(values)} ;;`;
    });
    return `    ${verb.name})
      takes=${quoted(valued.flatMap(({ names }) => names).join(" "))}
      _dreamdb_place
      case "$prev" in
${valued.map(({ names, values }) => `        ${names.join("|")}) ${completerOf(values as Values)}; return ;;`).join("\n")}
      esac
      if [[ $cur == -* ]]; then _dreamdb_words ${quoted(verb.flags.flatMap(({ names }) => names).join(" "))}; return; fi
      case "$place" in
${places.join("\n")}
      esac
      ;;`;
  });
  return `# bash completion of dreamdb. Made by: dreamdb completion bash
_dreamdb_words() { local IFS=$' \\t\\n'; COMPREPLY=($(compgen -W "$1" -- "$cur")); }
# The number of arguments before this one, those of options not counted.
_dreamdb_place() {
  local i
  place=0
  for ((i = 2; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      -*) [[ " $takes " == *" \${COMP_WORDS[i]} "* ]] && ((i++)) ;;
      *) ((place++)) ;;
    esac
  done
}
_dreamdb() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} takes place
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then _dreamdb_words ${quoted([...verbs.map(({ name }) => name), "--help", "--version"].join(" "))}; return; fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
}
complete -F _dreamdb dreamdb
`;
}

function zsh(verbs: readonly Verb[]): string {
  const completerOf = (values: Values): string => {
    if (values === "path") return "_files";
    if (values === "ref") return "_dreamdb_refs";
    return values === "any" ? " " : `(${values.words.join(" ")})`;
  };
  // Within a specification of _arguments, brackets and colons have a meaning.
  const plain = (text: string): string => text.replaceAll(/[[\\\]:]/g, (sign) => `\\${sign}`);
  const functions = verbs.map(({ name, flags, places, repeats }) => {
    const specs = flags.flatMap(({ names, text, values }) =>
      names.map(
        (each) => `${each}[${plain(text)}]${values === undefined ? "" : `:value:${completerOf(values)}`}`,
      ),
    );
    places.forEach((values, i) => {
      const isLast = i === places.length - 1 && repeats;
      specs.push(`${isLast ? "*" : i + 1}:argument:${completerOf(values)}`);
    });
    return `    ${name}) _arguments ${specs.map(quoted).join(" ")} ;;`;
  });
  const described = verbs.map(({ name, text }) => quoted(`${name}:${text.replaceAll(":", "\\:")}`)).join(" ");
  return `#compdef dreamdb
# zsh completion of dreamdb. Made by: dreamdb completion zsh
_dreamdb_refs() { compadd -- \${(f)"$(dreamdb refs --names 2>/dev/null)"} }
_dreamdb() {
  local -a verbs=(${described})
  if ((CURRENT == 2)); then _describe command verbs; return; fi
  shift words
  ((CURRENT--))
  case "$words[1]" in
${functions.join("\n")}
  esac
}
compdef _dreamdb dreamdb
`;
}

function fish(verbs: readonly Verb[]): string {
  const completerOf = (values: Values): string => {
    if (values === "path") return " -r -F";
    if (values === "ref") return " -x -a '(dreamdb refs --names 2>/dev/null)'";
    return values === "any" ? " -x" : ` -x -a ${quoted(values.words.join(" "))}`;
  };
  const escaped = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = verbs.flatMap(({ name, text, flags, places }) => {
    const within = `complete -c dreamdb -n '__fish_seen_subcommand_from ${name}'`;
    const ref = places.includes("ref") ? [`${within} -a '(dreamdb refs --names 2>/dev/null)'`] : [];
    const path = places.includes("path") ? [`${within} -F`] : [];
    const words = places.flatMap((values) =>
      typeof values === "string" ? [] : [`${within} -a ${quoted(values.words.join(" "))}`],
    );
    return [
      `complete -c dreamdb -n __fish_use_subcommand -a ${name} -d ${escaped(text)}`,
      ...flags.flatMap(({ names, text: about, values }) =>
        names
          .filter((each) => each.startsWith("--"))
          .map(
            (each) =>
              `${within} -l ${each.slice(2)}${values === undefined ? "" : completerOf(values)} -d ${escaped(about)}`,
          ),
      ),
      ...ref,
      ...path,
      ...words,
    ];
  });
  return `# fish completion of dreamdb. Made by: dreamdb completion fish
complete -c dreamdb -f
${lines.join("\n")}
`;
}
