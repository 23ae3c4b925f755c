/** Wrong flags of `laclip rewrite` are found before a server is asked; a wrong name of a model as soon as the server shows it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Ended, runLaclip } from "./laclip.ts";
import { withModelServer } from "./model-server.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-flags-"));
after(() => rmSync(folder, { recursive: true }));
const captions = join(folder, "captions.csv");
writeFileSync(captions, "id,caption\na,a dog on the grass\nb,two cats on a red sofa\n");
let runs = 0;

async function rewrite(url: string, ...flags: string[]): Promise<Ended> {
  return await runLaclip(["rewrite", captions, "--out", join(folder, `out-${runs++}`), "--llm", url, ...flags]);
}

test("flags that don't go together are refused before anybody is asked", async () => {
  for (const [flags, reason] of [
    [["--prompt", "fusion"], /--prompt fusion needs a second caption/],
    [["--back-translate", "German", "--rounds", "2"], /2 rounds of back-translation would give the same texts/],
    [["--rounds", "2"], /one text of each caption/],
    [["--sources", " , "], /No source was named/],
    [["--sources", "fusion"], /merge two captions/],
    [["--beside", "a/b"], /--beside a\/b/],
  ] as const) {
    const { code, stderr } = await rewrite("http://127.0.0.1:9/v1", ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, reason);
  }
});

test("a model that the server does not list is warned of, and a wrong flag once the server says that there is none", async () => {
  const models = [{ id: "small:latest" }, { id: "large" }];
  const answer = ({ body: { model } }: { body: { model: string } }): string | number =>
    model === "none" ? 404 : " other words for a picture";
  await withModelServer<{ model: string }, void>(
    answer,
    async (url) => {
      const none = await rewrite(url, "--model", "none");
      assert.equal(none.code, 2, none.stderr);
      assert.match(none.stderr, /warning: \S+ lists no model "none", but: small:latest, large[^]*--model none: [^]*404[^]*Choose one/);
      const taken = await rewrite(url, "--model", "alias", "--sources", " human , bard");
      assert.equal(taken.code, 0, taken.stderr);
      assert.match(taken.stderr, /lists no model "alias"[^]*4 rewrites written/);
      for (const listed of ["large", "small"]) assert.doesNotMatch((await rewrite(url, "--model", listed)).stderr, /lists no model/);
    },
    models,
  );
});
