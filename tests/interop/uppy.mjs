// node uppy.mjs JSON: uploads files with Uppy and its tus plugin and prints one line of JSON about it.
//   files, endpoint   what and where to
//   options           of the plugin, as they are
import { File } from 'node:buffer'
import fs from 'node:fs'
import path from 'node:path'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { DefaultHttpStack } from 'tus-js-client'

globalThis.File ??= File // which Node 18 does not have

const { files, endpoint, options } = JSON.parse(process.argv[2])

// Uppy sets withCredentials on the XMLHttpRequest below a request, which Node does not have.
class HttpStack extends DefaultHttpStack {
  createRequest(method, url) {
    const request = super.createRequest(method, url)
    request.getUnderlyingObject = () => ({})
    return request
  }
}

const uppy = new Uppy({ autoProceed: false }).use(Tus, {
  endpoint,
  httpStack: new HttpStack(),
  retryDelays: Array(100).fill(100),
  ...options,
})
for (const file of files) {
  uppy.addFile({ name: path.basename(file), type: 'video/mp4', data: fs.readFileSync(file) })
}
const result = await uppy.upload()
for (const failed of result.failed) console.error(failed.error)
console.log(JSON.stringify({ urls: result.successful.map((file) => [file.name, file.uploadURL]) }))
process.exit(result.failed.length > 0 ? 1 : 0)
