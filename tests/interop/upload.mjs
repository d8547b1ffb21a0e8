// node upload.mjs JSON: uploads a file with tus-js-client and prints one line of JSON about it.
//   file, endpoint   what and where to
//   options          of tus.Upload, as they are
//   stream           true: through a stream whose length nobody knows
//   storage          file that remembers upload URLs; an upload found there is resumed
//   quitAfter        the process ends itself, without a word to the server, once so many bytes are under way
import fs from 'node:fs'
import { PassThrough } from 'node:stream'
import * as tus from 'tus-js-client'

const { file, endpoint, options, stream, storage, quitAfter } = JSON.parse(process.argv[2])
const requests = []
const source = fs.createReadStream(file)

const upload = new tus.Upload(stream ? source.pipe(new PassThrough()) : source, {
  endpoint,
  retryDelays: Array(200).fill(100),
  metadata: { filename: 'clip é.mp4', filetype: 'video/mp4' },
  ...(storage && { urlStorage: new tus.FileUrlStorage(storage), removeFingerprintOnSuccess: false }),
  ...options,
  onAfterResponse: (request, answer) => {
    requests.push(`${request.getMethod()} ${answer.getStatus()}`)
  },
  onProgress: (sent) => {
    if (quitAfter && sent >= quitAfter) process.exit(7)
  },
  onError: (error) => {
    console.error(error)
    process.exit(1)
  },
  onSuccess: () => {
    console.log(JSON.stringify({ url: upload.url, requests }))
    process.exit(0)
  },
})

const previous = storage ? await upload.findPreviousUploads() : []
if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0])
upload.start()
