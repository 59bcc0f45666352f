// node tus.js URL KEY FILE [STOP_AT]: uploads with the tus project's own client in pieces of 64 KiB. With STOP_AT it ends once so
// much was acknowledged and prints the upload's URL; with the environment's TUS_URL it goes on there.
import fs from 'node:fs'
import path from 'node:path'
import * as tus from 'tus-js-client'

const [endpoint, key, file, stopAt] = process.argv.slice(2)
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  uploadUrl: process.env.TUS_URL,
  headers: { Authorization: `Bearer ${key}` },
  chunkSize: 65536,
  uploadSize: fs.statSync(file).size,
  metadata: { filename: path.basename(file) },
  retryDelays: [100, 300, 1000, 3000],
  onChunkComplete: (_size, accepted) => {
    if (stopAt && accepted >= Number(stopAt)) {
      console.log(upload.url)
      process.exit(0)
    }
  },
  onError: error => { console.error(String(error)); process.exit(1) },
  onSuccess: () => { console.log('done'); process.exit(0) },
})
upload.start()
