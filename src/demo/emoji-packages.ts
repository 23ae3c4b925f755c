/**
 * Where the pictures and the words of the emoji world come from: packages of the npm registry, each with its own licence.
 *
 * They are optional dependencies, since only the demo needs them; a missing one is named together with the command that installs it.
 */
import { createRequire } from "node:module";
import { UsageError, readJson } from "../support/index.ts";

/** One package, what is taken from it, who made that, and under which licence. */
export interface Provenance {
  /** Name in the npm registry. */
  package: string;
  /** What the demo takes from it. */
  material: string;
  /** Who drew or wrote it. */
  by: string;
  /** Licence of the material itself, as an SPDX expression; it may differ from that of the package around it. */
  licence: string;
  /** Where the licence text stands. */
  licenceUrl: string;
  /** The line of credit, as the licence or the authors ask for it. */
  attribution: string;
}

/** Every package that the emoji world is made of. */
export const provenances = {
  openmoji: {
    package: "openmoji",
    material: "colour drawings and tags",
    by: "the OpenMoji contributors, HfG Schwäbisch Gmünd",
    licence: "CC-BY-SA-4.0",
    licenceUrl: "https://creativecommons.org/licenses/by-sa/4.0/",
    attribution: "All emojis designed by OpenMoji, the open-source emoji and icon project (openmoji.org). License: CC BY-SA 4.0",
  },
  noto: {
    package: "@iconify-json/noto",
    material: "drawings of Noto Emoji",
    by: "Google",
    licence: "Apache-2.0",
    licenceUrl: "https://www.apache.org/licenses/LICENSE-2.0",
    attribution: "Noto Emoji (github.com/googlefonts/noto-emoji), Google LLC, images under the Apache License 2.0; packaged by Iconify",
  },
  fluent: {
    package: "@iconify-json/fluent-emoji-flat",
    material: "flat drawings of Fluent Emoji",
    by: "Microsoft",
    licence: "MIT",
    licenceUrl: "https://github.com/microsoft/fluentui-emoji/blob/main/LICENSE",
    attribution: "Fluent Emoji (github.com/microsoft/fluentui-emoji), copyright Microsoft Corporation, MIT License; packaged by Iconify",
  },
  twemoji: {
    package: "@twemoji/svg",
    material: "drawings of Twemoji",
    by: "Twitter, Inc and other contributors",
    licence: "CC-BY-4.0",
    licenceUrl: "https://creativecommons.org/licenses/by/4.0/",
    attribution:
      "Twemoji graphics, copyright Twitter, Inc and other contributors (github.com/jdecked/twemoji), CC BY 4.0; drawn here at 64 pixels",
  },
  emojibase: {
    package: "emojibase-data",
    material: "names and keywords of Unicode CLDR, Unicode character names, short codes of GitHub, Slack, JoyPixels and Emojibase",
    by: "Unicode, Inc.; Miles Johnson; the platforms named",
    licence: "MIT AND Unicode-3.0",
    licenceUrl: "https://www.unicode.org/license.txt",
    attribution:
      "Emojibase, copyright Miles Johnson, MIT License; CLDR names and keywords, copyright Unicode, Inc., Unicode License v3 (unicode.org/copyright.html)",
  },
  emojilib: {
    package: "emojilib",
    material: "search words, used in the evaluation only",
    by: "Mu-An Chiou and contributors",
    licence: "MIT",
    licenceUrl: "https://github.com/muan/emojilib/blob/main/LICENSE",
    attribution: "emojilib, copyright Mu-An Chiou, MIT License",
  },
} as const satisfies Record<string, Provenance>;

const require = createRequire(import.meta.url);

/**
 * Path of a file inside an installed package: `packageFile("openmoji", "data/openmoji.json")`.
 * @throws UsageError when the package is not installed
 */
export function packageFile(name: string, path: string): string {
  try {
    return require.resolve(`${name}/${path}`);
  } catch (error) {
    throw new UsageError(`The package ${name} is not installed (looked for its file ${path}); the emoji world is drawn from it.`, {
      mend: "Install the optional packages of this project: npm install --include=optional",
      cause: error,
    });
  }
}

/** A JSON file inside an installed package. */
export function packageJson<T>(name: string, path: string): T {
  return readJson(packageFile(name, path), `file of the package ${name}`) as T;
}

/** Installed versions of all packages of the emoji world, by name. */
export function packageVersions(): Record<string, string> {
  const names = Object.values(provenances).map((provenance) => provenance.package);
  return Object.fromEntries(names.map((name) => [name, packageJson<{ version: string }>(name, "package.json").version]));
}
