// What the viewer is told: where its data is, and what it may not do.
//
// One origin serves it and the data; the browser's session cookie is all that it
// holds. Sources from elsewhere, configuration from elsewhere and files from the
// reader's disk are off: the makers' own defaults of a locked build.

// The viewer draws in a pool of seven contexts, made at once, before the first image:
// 0.1 s each where there is no graphics processor. Two draw as many viewports.
const CONTEXTS = 2;
const fewContexts = {
  id: 'leadglass.few-contexts',
  // After the viewer's own extensions, of which one makes `cornerstone`.
  preRegistration() {
    const { cornerstone } = window;
    const { rendering, ...rest } = cornerstone.getConfiguration();
    cornerstone.setConfiguration({
      ...rest,
      rendering: { ...rendering, webGlContextCount: CONTEXTS },
    });
  },
};

window.config = {
  name: 'leadglass',
  routerBasename: '/viewer',
  extensions: [fewContexts],
  modes: [],
  // Readers have no time for a guided tour.
  customizationService: { 'ohif.tours': { $set: [] } },
  genericViewports: { enabled: false },
  showStudyList: true,
  maxNumberOfWebWorkers: 4,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  experimentalStudyBrowserSort: false,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  allowMultiSelectExport: false,
  investigationalUseDialog: { option: 'never' },
  // HTTP/1.1: a browser opens six connections, and the first image comes first.
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 6 },
  showErrorDetails: 'dev',
  defaultDataSourceName: 'leadglass',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'leadglass',
      configuration: {
        friendlyName: 'Leadglass',
        name: 'leadglass',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/wado',
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsStow: false,
        supportsFuzzyMatching: true,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        enableStudyLazyLoad: true,
        staticWado: false,
        singlepart: 'bulkdata',
        bulkDataURI: { enabled: true },
        omitQuotationForMultipartRequest: false,
      },
    },
  ],
};
