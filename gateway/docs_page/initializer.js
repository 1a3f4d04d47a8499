// Shows the description of the API that this gateway serves, and makes calls to it.
"use strict";

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  // Nothing is asked of others, and a key is forgotten with the page.
  validatorUrl: null,
  persistAuthorization: false,
  // What is open can be linked to.
  deepLinking: true,
  // The messages stand in the calls that have them.
  defaultModelsExpandDepth: 0,
});
