// Shows openapi.json with Swagger UI. The token stays in this page's memory and nowhere else.
"use strict";

const form = document.getElementById("token-form");
const field = document.getElementById("token");
const address = new URL("openapi.json", location.origin + location.pathname);

async function open(token) {
  // Without a token by what the browser asked for to open this page; with one, by that alone.
  const how = token
    ? { headers: { Authorization: `Bearer ${token}` }, credentials: "omit" }
    : { credentials: "same-origin" };
  let answer;
  try {
    answer = await fetch(address, how);
  } catch (error) {
    ask(`The contract cannot be loaded: ${error.message}.`);
    return;
  }
  if (answer.status === 401 || answer.status === 403) {
    ask(token ? "This token is not valid here, or not any more." : "Paste a token to see the API.");
    return;
  }
  if (!answer.ok) {
    ask(`The contract cannot be loaded: the API answers ${answer.status}.`);
    return;
  }
  form.hidden = true;
  show(withoutSignatures(await answer.json()), token);
}

function ask(reason) {
  document.getElementById("token-reason").textContent = reason;
  form.hidden = false;
  field.select();
}

// A browser cannot sign requests, so the way of signatures is left out.
function withoutSignatures(contract) {
  const signed = "sigv4";
  const unsigned = (all) => all.filter((each) => !(signed in each));
  delete contract.components.securitySchemes[signed];
  contract.security = unsigned(contract.security);
  for (const path of Object.values(contract.paths)) {
    for (const operation of Object.values(path)) {
      if (operation.security) operation.security = unsigned(operation.security);
    }
  }
  return contract;
}

function show(contract, token) {
  const ui = SwaggerUIBundle({
    spec: contract,
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    validatorUrl: null,
    // The browser would send along what opened this page, and ask for it again after a 401.
    requestInterceptor: (request) => ({ ...request, credentials: "omit" }),
    onComplete: () => {
      if (token) ui.preauthorizeApiKey("bearer", token);
    },
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open(field.value.trim().replace(/^Bearer\s+/i, ""));
});
open("");
