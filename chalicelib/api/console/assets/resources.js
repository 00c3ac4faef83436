// The resources of this stage, and the columns of their keys, as its contract has them. They only
// help to fill in forms.
import { read } from "./api.js";
import { h } from "./dom.js";

let asked = null;

function contract() {
  asked ??= read("../openapi.json").then(
    (answer) => answer["x-decanter"].resources,
    () => {
      asked = null;
      return {};
    },
  );
  return asked;
}

// What an input with list="resources" offers.
export function resourceList() {
  const node = h("datalist", { id: "resources" });
  contract().then((all) =>
    node.append(...Object.keys(all).map((name) => h("option", { value: name }))),
  );
  return node;
}

// An empty key of a resource, as JSON: {"icao": ""}.
export async function emptyKey(resource) {
  const columns = (await contract())[resource]?.key ?? [];
  return JSON.stringify(
    Object.fromEntries(columns.map(({ name, kind }) => [name, kind === "integer" ? 0 : ""])),
  );
}
