/**
 * The same emoji drawn by four groups of artists, as SVG.
 *
 * OpenMoji and Twemoji come as a file each, Noto and Fluent as one Iconify set each (a JSON with the inner markup of every drawing).
 * All are looked up by the code points of the emoji without the variation selector U+FE0F, since the sets disagree on writing it.
 */
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { DataError } from "../support/index.ts";
import { packageFile, packageJson, provenances } from "./emoji-packages.ts";

/** One way of drawing. */
export interface DrawingStyle {
  /** Short name; also a folder name. */
  name: StyleName;
  /** The name its makers use. */
  label: string;
  /** Key in `provenances`. */
  source: keyof typeof provenances;
  has(hexcode: string): boolean;
  /** The drawing as a complete SVG document. @throws DataError when this style lacks the emoji */
  svg(hexcode: string): string;
}

/** The four groups of artists. */
export type StyleName = "openmoji" | "noto" | "fluent" | "twemoji";

/** "1F3D5-FE0F" and "1f3d5" -> "1F3D5": the key under which all styles find the same emoji. */
function codeKey(hexcode: string): string {
  return hexcode
    .toUpperCase()
    .split("-")
    .filter((code) => code !== "FE0F")
    .join("-");
}

/** All four styles, the held-out one last. Reading them takes about half a second. */
export function drawingStyles(): Record<StyleName, DrawingStyle> {
  return {
    openmoji: svgFiles("openmoji", "OpenMoji", "package.json", "color/svg"),
    noto: iconifySet("noto", "Noto Emoji"),
    fluent: iconifySet("fluent", "Fluent Emoji"),
    twemoji: svgFiles("twemoji", "Twemoji", "package.json", "."),
  };
}

function svgFiles(name: "openmoji" | "twemoji", label: string, anchor: string, subfolder: string): DrawingStyle {
  const folder = join(dirname(packageFile(provenances[name].package, anchor)), subfolder);
  const files = new Map<string, string>();
  for (const file of readdirSync(folder)) {
    if (file.endsWith(".svg")) files.set(codeKey(file.slice(0, -".svg".length)), join(folder, file));
  }
  return {
    name,
    label,
    source: name,
    has: (hexcode) => files.has(codeKey(hexcode)),
    svg(hexcode) {
      const file = files.get(codeKey(hexcode)) ?? missing(label, hexcode);
      return readFileSync(file, "utf8");
    },
  };
}

interface IconifySet {
  width?: number;
  height?: number;
  icons: Record<string, IconifyIcon>;
  aliases?: Record<string, { parent: string; rotate?: number; hFlip?: boolean; vFlip?: boolean }>;
}

interface IconifyIcon {
  body: string;
  left?: number;
  top?: number;
  width?: number;
  height?: number;
}

function iconifySet(name: "noto" | "fluent", label: string): DrawingStyle {
  const set = packageJson<IconifySet>(provenances[name].package, "icons.json");
  const names = packageJson<Record<string, string>>(provenances[name].package, "chars.json");
  const icons = new Map<string, IconifyIcon>();
  for (const [code, iconName] of Object.entries(names)) {
    const alias = set.aliases?.[iconName];
    // A turned or mirrored alias is another picture; it would need its own markup.
    const icon = set.icons[iconName] ?? (alias && !alias.rotate && !alias.hFlip && !alias.vFlip ? set.icons[alias.parent] : undefined);
    if (icon) icons.set(codeKey(code), icon);
  }
  return {
    name,
    label,
    source: name,
    has: (hexcode) => icons.has(codeKey(hexcode)),
    svg(hexcode) {
      const {
        body,
        left = 0,
        top = 0,
        width = set.width ?? 16,
        height = set.height ?? 16,
      } = icons.get(codeKey(hexcode)) ?? missing(label, hexcode);
      return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${left} ${top} ${width} ${height}">${body}</svg>`;
    },
  };
}

function missing(label: string, hexcode: string): never {
  throw new DataError(`${label} has no drawing of the emoji ${hexcode}.`);
}
