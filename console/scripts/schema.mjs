// Types of the API from its OpenAPI document. Only what a client reads is kept: answers of success, and the shape of a
// problem. Operation ids are left out: routes are found by path and method.
import { readFileSync, writeFileSync } from 'node:fs';
import openapi, { astToString } from 'openapi-typescript';

const [from, to] = process.argv.slice(2);
const document = JSON.parse(readFileSync(from, 'utf8'));
for (const path of Object.values(document.paths)) {
  for (const operation of Object.values(path)) {
    delete operation.operationId;
    for (const status of Object.keys(operation.responses ?? {})) {
      if (!status.startsWith('2')) delete operation.responses[status];
    }
  }
}
const ast = await openapi(document, { alphabetize: true, rootTypes: true, rootTypesNoSchemaPrefix: true, defaultNonNullable: false });
writeFileSync(to, `// Made from api/openapi.json by \`npm run api\`.\n\n${astToString(ast)}`);
