/**
 * Loads llama.cpp and says, in a line of JSON, which version it is and what it computes on. A program of its own: `laclip doctor` runs it
 * beside itself, since llama.cpp ends its process when something is wrong with it.
 */
import { getLlama, getModuleVersion } from "node-llama-cpp";

const llama = await getLlama({ build: "never", skipDownload: true, progressLogs: false });
process.stdout.write(`${JSON.stringify({ version: await getModuleVersion(), gpu: llama.supportsGpuOffloading ? llama.gpu : null })}\n`);
await llama.dispose();
