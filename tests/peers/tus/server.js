// A tus 1.0 server with files in the directory that is its first argument. Prints its port.
import http from "node:http"
import { FileStore } from "@tus/file-store"
import { Server } from "@tus/server"

const tus = new Server({ path: "/files", datastore: new FileStore({ directory: process.argv[2] }) })
const server = http.createServer(tus.handle.bind(tus))
server.listen(0, "127.0.0.1", () => console.log(server.address().port))
process.stdin.on("end", () => process.exit(0)).resume() // ends with the test that started it
